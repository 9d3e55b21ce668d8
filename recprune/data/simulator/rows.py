"""The rows of a day as plain arrays: which ids, which numbers, when, and clicked or not.

Shapes: B rows, C categorical features, N numeric ones, I live ids a feature.

Every number of a row is the same on any machine: scores are sums and quotients taken in a written-down
order, never a matmul. Only a power (popularity) and an exponential (p_click) may differ in their last
bit; a draw falls into that gap once in 10¹⁵ rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from recprune.data.simulator.chance import Chance, Floats, Stream
from recprune.data.simulator.settings import SimulatorSettings
from recprune.data.simulator.teacher import Teacher, season, sigmoid, teacher_inputs
from recprune.data.simulator.world import World

BATCH_ROWS = 65_536
MICROSECONDS = 86_400_000_000
"""Microseconds of a day."""
_PARTS = 1 << 16
MISSING_SHARE = 0.05
"""Share of the last numeric feature's values that are missing."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a day, in time order."""

    start: int
    """Rows of the day before these."""
    at: NDArray[np.int64]
    """Microseconds since midnight (B,)."""
    slots: NDArray[np.int64]
    """Slot of the id of each categorical feature (C, B)."""
    numbers: Floats
    """Values of the numeric features; NaN where missing (N, B)."""
    p_click: Floats
    """The teacher's probability (B,)."""
    clicked: NDArray[np.bool_]
    """Whether the row was clicked: a Bernoulli draw of `p_click` (B,)."""


def popularity(ids: int, exponent: float) -> Floats:
    """Return the cumulative shares of ids whose popularity falls as rank^-exponent, `(ids,)`.

    >>> popularity(2, 1.0).round(3).tolist()
    [0.667, 1.0]
    """
    shares = np.cumsum(np.arange(1, ids + 1, dtype=np.float64) ** -exponent)
    shares /= shares[-1]
    return shares


def draw_day(world: World, teacher: Teacher, settings: SimulatorSettings, day: date) -> Iterator[Rows]:
    """Yield the rows of a day, `BATCH_ROWS` at a time."""
    shares = popularity(settings.ids, settings.zipf)
    for batch, start in enumerate(range(0, settings.rows, BATCH_ROWS)):
        count = min(BATCH_ROWS, settings.rows - start)
        chance = Chance(settings.seed, world.age)
        slots, ranks = draw_features(chance, shares, settings, count, batch)
        at = _times(start, settings.rows, chance.uniform(Stream.TIME, count, batch=batch))
        logits = teacher.logits(teacher_inputs(world, slots, ranks))
        logits += settings.season * season(at // (MICROSECONDS // 24), day.weekday())
        p_click = sigmoid(logits)
        clicked = chance.uniform(Stream.CLICK, count, batch=batch) < p_click
        yield Rows(start, at, slots, skewed(ranks), p_click, clicked)


def draw_features(
    chance: Chance, shares: Floats, settings: SimulatorSettings, count: int, batch: int
) -> tuple[NDArray[np.int64], Floats]:
    """Return the slots of ids (C, B) and the ranks of numbers in [0, 1), NaN where missing (N, B)."""
    slots = np.empty((settings.categorical, count), dtype=np.int64)
    starts = first_slots(shares) if max(len(shares), _PARTS) <= count else None
    for i in range(settings.categorical):
        uniform = chance.uniform(Stream.ID, count, batch=batch, column=i)
        slots[i] = np.searchsorted(shares, uniform, "right") if starts is None else look_up(shares, starts, uniform)
    ranks = np.empty((settings.numeric, count))
    for i in range(settings.numeric):
        ranks[i] = chance.uniform(Stream.NUMBER, count, batch=batch, column=i)
    if settings.numeric:
        ranks[-1, chance.uniform(Stream.GAP, count, batch=batch) < MISSING_SHARE] = np.nan
    return slots, ranks


def look_up(shares: Floats, starts: NDArray[np.int64], uniform: Floats) -> NDArray[np.int64]:
    """Return `np.searchsorted(shares, uniform, "right")` several times as fast, by a table of where to begin.

    >>> shares, uniform = np.array([0.25, 0.5, 1.0]), np.array([0.0, 0.25, 0.75])
    >>> look_up(shares, first_slots(shares), uniform).tolist()
    [0, 1, 2]
    """
    slots = starts[(uniform * _PARTS).astype(np.int64)]
    behind = np.flatnonzero(shares[slots] <= uniform)
    while behind.size:
        slots[behind] += 1
        behind = behind[shares[slots[behind]] <= uniform[behind]]
    return slots


def first_slots(shares: Floats) -> NDArray[np.int64]:
    """Return the slot of the first number of each of `_PARTS` equal parts of [0, 1); their bounds are exact."""
    return np.searchsorted(shares, np.arange(_PARTS) / _PARTS, "right")


def skewed(ranks: Floats) -> Floats:
    """Return numbers with a long tail (log-logistic, cut off at 50): r / (1.02 - r).

    >>> skewed(np.array([0.0, 0.51, 1.0])).round(6).tolist()
    [0.0, 1.0, 50.0]
    """
    return np.asarray(ranks / (1.02 - ranks), dtype=np.float64)


def _times(start: int, rows: int, uniform: Floats) -> NDArray[np.int64]:
    """Return times that ascend: row i falls somewhere into the i-th of `rows` equal parts of the day."""
    parts = (np.arange(start, start + len(uniform), dtype=np.float64) + uniform) / rows
    return np.minimum(parts * MICROSECONDS, MICROSECONDS - 1).astype(np.int64)
