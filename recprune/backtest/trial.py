"""One trial: one policy, budget, seed and pair of learning rates, replayed from the stream's first day."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.backtest.policies import Chosen
from recprune.backtest.stream import Day, Stream, first_sizes
from recprune.data.features import FeatureSet
from recprune.data.schema import Schema
from recprune.errors import NotFiniteError, SettingsError
from recprune.metrics.scores import normalized_entropy, probability
from recprune.model.device import device_name
from recprune.model.line import Line, grow_rows, new_line
from recprune.model.shape import dense_shape
from recprune.pruning.budget import Budget, budget_for
from recprune.pruning.control import Control
from recprune.pruning.policy import Pace, Policy, Today
from recprune.settings import ModelSettings, TrainSettings
from recprune.training.incremental import learn
from recprune.training.midway import train_facts
from recprune.training.scoring import score

SETTLING = 4
"""Days after the first carving before a trial is scored for tuning."""
RETURN_DAYS = 7
"""Days within which an input that comes back was needless to remove."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When what happens in a stream, counted in days from its first."""

    warm: int
    """Dense training alone, before the first carving."""
    tuned: int
    """The first days, by which settings are chosen; scored days come after."""

    @classmethod
    def of(cls, days: int, carve_days: int) -> "Schedule":
        """Return the schedule of a stream: a fifth of the days tunes, two fifths of that are warm-up."""
        tuned = max(carve_days + SETTLING + 2, round(0.2 * days))
        return cls(warm=max(1, min(round(0.4 * tuned), tuned - carve_days - SETTLING - 1)), tuned=tuned)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What is replayed."""

    chosen: Chosen
    model: ModelSettings
    train: TrainSettings
    schedule: Schedule
    days: int
    """How many of the stream's days."""

    def facts(self, stream: Stream) -> dict[str, Any]:
        """Return everything that the numbers follow from."""
        return {
            "stream": stream.digest,
            "policy": self.chosen.text,
            "prune": asdict(self.chosen.prune),
            "model": asdict(self.model),
            "train": train_facts(self.train),
            "schedule": asdict(self.schedule),
            "days": self.days,
            **({"device": device} if (device := device_name(self.train.device)) else {}),
        }

    def title(self) -> str:
        """Return what tells it from other trials of a stream."""
        rates = f"{self.train.learning_rate:g} and {self.train.embedding_learning_rate:g}"
        where = f"budget {self.chosen.budget:g}, seed {self.train.seed}, learning rates {rates}"
        return f"{self.chosen.text} ({where}, {self.days} days)"

    def check(self, schema: Schema) -> None:
        """Check that it can begin.

        Raises:
            SettingsError: the budget cannot be reached, or the policy does not fit the model or its settings.
        """
        shape, policy, seed = dense_shape(schema, self.model), self.chosen.policy, self.train.seed
        budget = budget_for(shape, self.chosen.prune)
        policy.begin(shape, first_sizes(schema), budget, seed)
        pace = Pace(steps_a_day=1, warm_days=1, carve_days=1, share=budget.share, seed=seed)
        try:
            policy.hook("served", pace)
        except ValueError as error:
            raise SettingsError(str(error)) from None


@dataclass(slots=True)
class Record:
    """What a trial leaves behind; lists have an entry per day."""

    ne: list[float | None] = field(default_factory=list)
    """Next-day normalized entropy of what would be served: scored before it is learned."""
    cost_share: list[float] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    widths: dict[str, list[int]] = field(default_factory=dict)
    inputs_changed: list[int] = field(default_factory=list)
    """Inputs that came in."""
    inputs_returned: list[int] = field(default_factory=list)
    """Of these, the ones that had gone out within the last `RETURN_DAYS` days: a mask that flaps has many."""
    training_flops: float = 0.0
    train_seconds: float = 0.0
    decisions: list[str] = field(default_factory=list)
    failed: str | None = None


def replay(stream: Stream, trial: Trial, progress: Callable[[int], None]) -> tuple[Record, Line]:
    """Replay a trial; returns its record and the line that would be served in the end.

    A line that turns non-finite ends the trial: the record says so and its remaining days are None.

    Args:
        stream: decoded.
        trial: what is replayed.
        progress: called with the days that are done.
    """
    run = _Replay(stream, trial)
    for number in range(trial.days):
        try:
            run.day(number)
        except NotFiniteError as error:
            run.record.failed = f"{stream.days[number]}: {error}"
            run.record.ne += [None] * (trial.days - len(run.record.ne))
            break
        progress(number + 1)
    run.record.decisions = list(run.decisions)
    return run.record, run.served


class _Replay:
    """The state of a trial."""

    def __init__(self, stream: Stream, trial: Trial) -> None:
        self.stream, self.trial, self.record = stream, trial, Record()
        self.policy, self.prune = trial.chosen.policy, trial.chosen.prune
        shape, seed = dense_shape(stream.schema, trial.model), trial.train.seed
        self.budget: Budget = budget_for(shape, self.prune)
        own = self.policy.begin(shape, first_sizes(stream.schema), self.budget, seed)
        self.lines = {"served": own} if own else {"dense": new_line(shape, first_sizes(stream.schema), seed)}
        self.control, self.decisions = Control(), list[str]()
        self.gone: dict[int, int] = {}  # inputs that went, and when last
        self.carves = own is None and self.policy.carves
        steps = -(-int(np.median(stream.rows)) // trial.train.batch)
        self.pace = Pace(
            steps_a_day=steps,
            warm_days=trial.schedule.warm,
            carve_days=self.prune.carve_days,
            share=self.budget.share,
            seed=seed,
        )

    @property
    def served(self) -> Line:
        """Return the line that would be served."""
        return self.lines.get("served") or self.lines["dense"]

    def day(self, number: int) -> None:
        """Score a day, learn it, prune."""
        day = self.stream.day(number)
        scores = self._score(day)
        served = "p_served" if "p_served" in scores.columns else "p_dense"
        ne = normalized_entropy(scores["label"].to_numpy(), scores[served].to_numpy())
        self.record.ne.append(ne if np.isfinite(ne) else None)
        before = set(self.served.shape.inputs)
        today = self._today(day, number, scores)
        begun = time.perf_counter()
        policy = self.policy if today.number >= 0 else Policy()
        policy.train(self.lines, self.control, day.learn, self._learner(day, number, policy), today)
        self._prune(today, number)
        self.record.train_seconds += time.perf_counter() - begun
        self._note(before, number)

    def _score(self, day: Day) -> pl.DataFrame:
        label = np.asarray(day.score.label)
        with np.errstate(invalid="ignore"):  # a line that broke gives NaN, which its next pass refuses
            columns = {f"p_{n}": probability(self._logits(line, day)) for n, line in self.lines.items()}
        return pl.DataFrame({"label": label, **columns})

    def _logits(self, line: Line, day: Day) -> NDArray[np.float64]:
        return score(line, known(day.score, line), self.trial.train.device)

    def _today(self, day: Day, number: int, scores: pl.DataFrame) -> Today:
        settled = self.trial.schedule.warm + self.prune.carve_days if self.carves else 0
        return Today(
            day=day.day,
            number=number - settled,
            learned=day.learn,
            scores=scores,
            budget=self.budget,
            settings=self.prune,
            seed=self.trial.train.seed,
        )

    def _learner(self, day: Day, number: int, policy: Policy) -> Callable[[str, Line, FeatureSet, int], None]:
        def one(name: str, line: Line, events: FeatureSet, part: int) -> None:
            seed = self.trial.train.seed * 1_000_003 + 8 * number + part
            grow_rows(line, day.sizes, seed)
            self.record.training_flops += 3.0 * line.shape.flops() * len(events)
            share = len(events) / max(1, len(day.learn))
            learn(line, events, self.trial.train, seed, hook=policy.hook(name, self.pace), share=share)

        return one

    def _prune(self, today: Today, number: int) -> None:
        carved = number - self.trial.schedule.warm + 1
        if self.carves and carved < 0:
            return
        if self.carves and carved <= self.prune.carve_days:
            self._first_carving(today, carved)
            return
        done = self.policy.adapt(self.lines, self.control, today)
        fresh = [d for d in done.control.history if d.startswith(today.day)]
        self.lines, self.control = done.lines, done.control
        self.decisions += fresh

    def _first_carving(self, today: Today, carved: int) -> None:
        """Copy dense on the last day of warm-up; cut the copy on each day of the carving; then settle."""
        if carved == 0:
            self.lines["served"] = self.lines["dense"].copy()
            return
        self.lines["served"] = self.policy.cut(self.lines, carved, today)
        if carved == self.prune.carve_days:
            self.lines = self.policy.settle(self.lines, replace(today, number=0))

    def _note(self, before: set[int], number: int) -> None:
        line, record = self.served, self.record
        record.cost_share.append(self.budget.of(line.shape) / self.budget.dense)
        record.weights.append(nonzero_weights(line))
        for kind, count in line.shape.counts().items():
            record.widths.setdefault(kind, []).append(count)
        after = set(line.shape.inputs)
        came = after - before
        record.inputs_changed.append(len(came))
        record.inputs_returned.append(sum(number - self.gone.get(i, -RETURN_DAYS - 1) <= RETURN_DAYS for i in came))
        self.gone |= dict.fromkeys(before - after, number)


def known(events: FeatureSet, line: Line) -> FeatureSet:
    """Return the events with ids that the line has no row for as unknown; a line that learns has them all."""
    sizes = np.repeat(np.array(line.sizes, np.int32), line.shape.most or 1)
    if all(events.ids[:, i].max(initial=0) < size for i, size in enumerate(sizes) if size):
        return events
    return replace(events, ids=np.where(events.ids < sizes, events.ids, 0))


def nonzero_weights(line: Line) -> int:
    """Count the weights of the fully connected layers that are kept."""
    sizes = {f"{name}.weight": n * m for name, n, m in line.shape.layers()}
    return sum(int(line.masks[name].sum()) if name in line.masks else size for name, size in sizes.items())
