"""What a pruning policy is: which lines it trains, and what it does to them after a day's pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from recprune.data.features import FeatureSet
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.budget import Budget
from recprune.pruning.carving import carve_to_ramp
from recprune.pruning.control import Control
from recprune.settings import PruneSettings
from recprune.training.hooks import Hook

Lines = dict[str, Line]
Learn = Callable[[str, Line, FeatureSet, int], None]
"""Give a line, by its name, one pass over events, in place; the number tells apart the parts of a day's pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Today:
    """What a policy sees of a day when its pass is done."""

    day: str
    number: int
    """Days since the served line was first carved, or since it began."""
    learned: FeatureSet
    """The events of the day's pass."""
    scores: pl.DataFrame
    """Label and next-day probabilities p_dense, p_served and perhaps p_challenger, in order of time."""
    budget: Budget
    settings: PruneSettings
    seed: int


@dataclass(slots=True)
class Adapted:
    """The lines after a day's pruning, and what was done."""

    lines: Lines
    control: Control
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast a stream goes, for policies that count steps."""

    steps_a_day: int
    warm_days: int
    """Days of dense training before anything is cut."""
    carve_days: int
    share: float
    """Share of the cost to keep."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One way to keep a served line within its budget while the data move: by itself, the fixed mask.

    The line learns on with the groups that the first carving left (the failure that Ye et al. 2020 describe).
    """

    carves: bool = True
    """Whether a served line is carved from the dense one."""
    needs_dense: bool = False
    """Whether the dense line is trained on after the first carving."""

    def begin(self, dense: Shape, sizes: Sequence[int], budget: Budget, seed: int) -> Line | None:
        """Return the line that this policy trains from the first day on instead of a dense one, if it does so."""
        return None

    def cut(self, lines: Lines, days: int, today: Today) -> Line:
        """Return the served line after the step of the first carving's day, counted from 1."""
        return carve_to_ramp(lines["served"], today.learned, days, today.budget, today.settings)[0]

    def settle(self, lines: Lines, today: Today) -> Lines:
        """Return the lines with which the policy goes on once the first carving is done."""
        return dict(lines) if self.needs_dense else {name: line for name, line in lines.items() if name != "dense"}

    def hook(self, name: str, pace: Pace) -> Hook | None:
        """Return what acts inside a line's pass."""
        return None

    def train(self, lines: Lines, control: Control, events: FeatureSet, learn: Learn, today: Today) -> None:
        """Give each line the day's pass, in place."""
        for name, line in lines.items():
            learn(name, line, events, 0)

    def adapt(self, lines: Lines, control: Control, today: Today) -> Adapted:
        """Do a day's pruning."""
        return Adapted(dict(lines), control)
