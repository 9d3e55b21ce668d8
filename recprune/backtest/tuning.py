"""The same tuning budget for every policy: a grid of learning rates, extended while the best lies on its edge.

Judged on the stream's first fifth, which no result is made of.
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
STRUCTURES = 3
"""Hand-made structures of `small_dense` that are tuned fully, the best of all at two learning rates."""

Point = tuple[int, int]
Run = Callable[[Sequence[Trial]], list[dict[str, Any]]]


@dataclass(slots=True)
class _Search:
    """One policy's search."""

    trial: Trial
    seen: dict[Point, float] = field(default_factory=dict)

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
    return [
        (replace(trial, train=at(trial.train, search.best())), _told(search))
        for trial, search in zip(trials, searches, strict=True)
    ]


def _told(search: _Search) -> dict[str, Any]:
    best, train = search.best(), search.trial.train
    edge = max(abs(best[0]), abs(best[1])) == REACH
    tried = [
        {"learning_rate": at(train, p).learning_rate, "embedding_learning_rate": at(train, p).embedding_learning_rate,
         "ne": None if np.isinf(ne) else ne}
        for p, ne in sorted(search.seen.items())
    ]  # fmt: skip
    return {"tried": tried, "at_the_edge": edge}


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
