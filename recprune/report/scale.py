"""From values to places in a chart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values of [low, high] to pixels from the top, high at 0 and low at `height`.

    >>> scale = Scale(0.0, 2.0, 100)
    >>> scale.y(0.0), scale.y(0.5), scale.y(2.0)
    (100.0, 75.0, 0.0)
    """

    low: float
    high: float
    height: float
    log: bool = False
    """Equal ratios, not differences, are equally far apart; values must be positive."""

    def y(self, value: float) -> float:
        """Return the place of a value."""
        low, high, at = (
            (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return round(self.height * (high - at) / (high - low), 2)


def linear(values: Sequence[float], height: float, about: int = 4) -> tuple[Scale, list[float]]:
    """Return a scale that holds all values, and its ticks, which are round numbers and end it on both sides.

    >>> linear([0.22, 0.88], 100)[1]
    [0.2, 0.4, 0.6, 0.8, 1.0]

    Args:
        values: at least one.
        height: in pixels.
        about: how many steps are wanted.
    """
    low, high = min(values), max(values)
    if low == high == 0:
        high = 0.1
    elif low == high:
        low, high = low - abs(low) * 0.1, high + abs(high) * 0.1
    step = _round_step((high - low) / about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [round(i * step, 12) for i in range(first, last + 1)]
    return Scale(ticks[0], ticks[-1], height), ticks


def logarithmic(values: Sequence[float], height: float) -> tuple[Scale, list[float]]:
    """Return a scale by ratios with ticks at 1, 2 and 5 times powers of ten.

    >>> logarithmic([55.0, 193.0], 100)[1]
    [50.0, 100.0, 200.0]
    """
    powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 2)
    marks = [round(m * 10.0**p, 12) for p in powers for m in (1, 2, 5)]
    first = max(i for i, mark in enumerate(marks) if mark <= min(values) * (1 + 1e-9))
    last = max(first + 1, min(i for i, mark in enumerate(marks) if mark >= max(values) * (1 - 1e-9)))
    ticks = marks[first : last + 1]
    shown = ticks if len(ticks) <= 5 else [tick for tick in ticks if f"{tick:e}"[0] == "1"]
    return Scale(ticks[0], ticks[-1], height, log=True), shown


def _round_step(step: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def spread(places: Sequence[float], gap: float, height: float) -> list[float]:
    """Move labels apart until neighbours are `gap` pixels from one another, in order, within the height.

    >>> spread([50.0, 52.0, 10.0], 14, 100)
    [50.0, 64.0, 10.0]
    >>> spread([99.0, 100.0], 14, 100.0)
    [86.0, 100.0]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + gap)
    ceiling = height
    for i in reversed(order):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    return moved
