"""The same tuning budget for every policy: a grid of learning rates, extended while the best lies on its edge.

Judged on the stream's first fifth, which no result is made of. The grid is searched with one seed; its best points
meet again with more seeds, since one seed alone chose rates that cost up to 2.4 % over a year
(docs/results/4-where-the-gain-comes-from.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from recprune.backtest.policies import choose
from recprune.backtest.trial import SETTLING, Trial
from recprune.errors import SettingsError
from recprune.pruning.static import READS, TOPS
from recprune.settings import TrainSettings

FACTOR = 2.0
"""Between neighbouring learning rates."""
REACH = 4
"""Neighbours on each side that a grid may be extended to."""
FINALISTS = 3
"""Points of a grid that are tried with more seeds."""
MORE_SEEDS = 2
"""Seeds of a finalist beside the first."""
STRUCTURES = 3
"""Hand-made structures of `small_dense` that are tuned fully, the best of all at two learning rates."""

Point = tuple[int, int]
Run = Callable[[Sequence[Trial]], list[dict[str, Any]]]


@dataclass(slots=True)
class _Search:
    """One policy's search."""

    trial: Trial
    seen: dict[Point, float] = field(default_factory=dict)
    finals: dict[Point, list[float]] = field(default_factory=dict)
    """NE of the finalists, by seed."""

    def wanted(self) -> list[Point]:
        """Return the points to try next; none if the best is inside of what was tried, or at the reach."""
        if not self.seen:
            return [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        i, j = self.best()
        around = [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        return [p for p in around if p not in self.seen and max(abs(p[0]), abs(p[1])) <= REACH]

    def best(self) -> Point:
        """Return the point with the lowest NE; of equal ones the first."""
        return min(sorted(self.seen), key=lambda point: self.seen[point])

    def finalists(self) -> list[Point]:
        """Return the points that are tried with more seeds: the best that did not fail."""
        known = [point for point in sorted(self.seen) if np.isfinite(self.seen[point])]
        return sorted(known, key=lambda point: self.seen[point])[:FINALISTS]

    def chosen(self) -> Point:
        """Return the finalist with the lowest mean NE over seeds; the best point if all failed."""
        if not self.finals:
            return self.best()
        return min(sorted(self.finals), key=lambda point: np.mean(self.finals[point]))


def at(train: TrainSettings, point: Point) -> TrainSettings:
    """Return the settings with both learning rates moved by powers of FACTOR."""
    return replace(
        train,
        learning_rate=train.learning_rate * FACTOR ** point[0],
        embedding_learning_rate=train.embedding_learning_rate * FACTOR ** point[1],
    )


def tune(trials: Sequence[Trial], run: Run) -> list[tuple[Trial, dict[str, Any]]]:
    """Return each trial with the learning rates that were best on the tuning days, and what was tried.

    Every round runs the open points of all trials together, so that all cores are busy.
    """
    searches = [_Search(replace(trial, days=trial.schedule.tuned)) for trial in trials]
    while open_ones := [(search, point) for search in searches for point in search.wanted()]:
        records = run([replace(s.trial, train=at(s.trial.train, point)) for s, point in open_ones])
        for (search, point), record in zip(open_ones, records, strict=True):
            search.seen[point] = tuning_score(record, search.trial)
    _hold_finals(searches, run)
    return [
        (replace(trial, train=at(trial.train, search.chosen())), _told(search))
        for trial, search in zip(trials, searches, strict=True)
    ]


def _hold_finals(searches: Sequence[_Search], run: Run) -> None:
    """Try the best points of every search with more seeds."""
    entered = [(s, point, more) for s in searches for point in s.finalists() for more in range(1, MORE_SEEDS + 1)]
    records = run([_with_seed(replace(s.trial, train=at(s.trial.train, p)), more) for s, p, more in entered])
    for (search, point, _), record in zip(entered, records, strict=True):
        scores = search.finals.setdefault(point, [search.seen[point]])
        scores.append(tuning_score(record, search.trial))


def _with_seed(trial: Trial, more: int) -> Trial:
    return replace(trial, train=replace(trial.train, seed=trial.train.seed + more))


def _told(search: _Search) -> dict[str, Any]:
    chosen, train = search.chosen(), search.trial.train
    edge = max(abs(chosen[0]), abs(chosen[1])) == REACH
    tried = [
        {"learning_rate": at(train, p).learning_rate, "embedding_learning_rate": at(train, p).embedding_learning_rate,
         "ne": _finite(ne), "ne_by_seed": [_finite(each) for each in search.finals.get(p, [ne])]}
        for p, ne in sorted(search.seen.items())
    ]  # fmt: skip
    return {
        "tried": tried,
        "ne": _finite(float(np.mean(search.finals.get(chosen, [search.seen[chosen]])))),
        "at_the_edge": edge,
    }


def _finite(ne: float) -> float | None:
    return ne if np.isfinite(ne) else None


def tuning_score(record: Mapping[str, Any], trial: Trial) -> float:
    """Return the mean NE of the tuning days after the first carving settled; infinity if the trial failed."""
    first = trial.schedule.warm + trial.chosen.prune.carve_days + SETTLING
    days = record["ne"][first : trial.schedule.tuned]
    known = [ne for ne in days if ne is not None]
    return float(np.mean(known)) if known and not record["failed"] else float("inf")


def structures(trial: Trial, run: Run) -> list[Trial]:
    """Return `small_dense` trials of the best hand-made structures, for `tune`; another trial as it is.

    All shapes × ways to read that fit are tried at the given learning rate and at twice that.

    Raises:
        SettingsError: no structure is within the budget.
    """
    if not is_open(trial):
        return [trial]
    candidates = [replace(c, days=trial.schedule.tuned) for c in every_structure(trial)]
    tried = [replace(c, train=at(c.train, (i, 0))) for c in candidates for i in (0, 1)]
    records = run(tried)
    scores = [tuning_score(record, t) for record, t in zip(records, tried, strict=True)]
    best = {n: min(scores[2 * n : 2 * n + 2]) for n in range(len(candidates))}
    order = sorted((n for n in best if np.isfinite(best[n])), key=lambda n: (best[n], n))[:STRUCTURES]
    if not order:
        raise SettingsError(f"none of the structures of small_dense could be trained; of the first: {_why(records)}")
    return [replace(trial, chosen=candidates[n].chosen) for n in order]


def is_open(trial: Trial) -> bool:
    """Say whether tuning chooses the trial's structure too."""
    return trial.chosen.text == "small_dense"


def every_structure(trial: Trial) -> list[Trial]:
    """Return the trial with each of the hand-made structures."""
    texts = [f"small_dense:top={top}:reads={reads}" for top in TOPS for reads in READS]
    return [replace(trial, chosen=choose(text, trial.chosen.prune, trial.chosen.budget)) for text in texts]


def _why(records: Sequence[Mapping[str, Any]]) -> str:
    return next((str(record["failed"]) for record in records if record["failed"]), "its days have no NE.")
