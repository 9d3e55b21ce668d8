"""The teacher: a small network that knows every click's true probability.

logit = offset + scale · Σ_h v_h · s(b_h + Σ_f w_hf · x_f), with s(z) = z / (1 + |z|) and x_f the taste of
the row's id or the standardized rank of its number (0 where missing).

Shapes: B rows, F features, G informative ones, H hidden units.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recprune.data.simulator.chance import Floats, centred
from recprune.data.simulator.world import World

_HOURS = np.array([round(math.cos(2 * math.pi * (hour - 20) / 24), 6) for hour in range(24)])
_BLOCK = 4096
"""Rows that are summed at a time: what they need fits into a core's cache."""
_WEEKDAYS = np.array([round(math.cos(2 * math.pi * (weekday - 5) / 7), 6) for weekday in range(7)])


@dataclass(frozen=True, slots=True)
class Teacher:
    """The teacher of one day, scaled to the signal and the base rate that were asked for."""

    units: Floats
    """Weights of the informative features, bias, outgoing weight (H, G + 2)."""
    offset: float
    scale: float

    def logits(self, inputs: Sequence[Floats]) -> Floats:
        """Return the logits of rows, without their season (B,)."""
        return np.asarray(self.offset + self.scale * hidden_sum(self.units, inputs), dtype=np.float64)


def fit_teacher(world: World, inputs: Sequence[Floats], signal: float, base_rate: float) -> Teacher:
    """Scale the day's network: on sample rows logits spread by `signal`, `p_click` averages `base_rate`."""
    units = world.units[:, np.append(world.informative, [True, True])]
    score = hidden_sum(units, inputs)
    mean = _mean(score)
    spread = math.sqrt(_mean((score - mean) ** 2))
    scale = signal / spread if spread > 1e-9 else 0.0  # one id and no number: nothing to tell apart
    shift = _solve(lambda b: _mean(sigmoid(b + scale * (score - mean))) - base_rate)
    return Teacher(units=units, offset=shift - scale * mean, scale=scale)


def teacher_inputs(world: World, slots: NDArray[np.int64], ranks: Floats) -> list[Floats]:
    """Return what the teacher sees of the rows: one array (B,) for each informative feature."""
    inputs = []
    for feature in np.flatnonzero(world.informative):
        if feature < len(slots):
            inputs.append(world.tastes[feature][slots[feature]])
        else:
            inputs.append(np.nan_to_num(centred(ranks[feature - len(slots)])))
    return inputs


def hidden_sum(units: Floats, inputs: Sequence[Floats]) -> Floats:
    """Return Σ_h v_h · s(b_h + Σ_f w_hf · x_f) of rows (B,), summed in the order of units and features."""
    total = np.zeros(len(inputs[0]))
    for start in range(0, len(total), _BLOCK):
        block = slice(start, start + _BLOCK)
        _add_units(total[block], units, [x[block] for x in inputs])
    return total


def _add_units(total: Floats, units: Floats, inputs: Sequence[Floats]) -> None:
    z, product = np.empty(len(total)), np.empty(len(total))
    for *weights, bias, outgoing in units:
        z.fill(bias)
        for weight, x in zip(weights, inputs, strict=True):
            z += np.multiply(x, weight, out=product)
        np.abs(z, out=product)
        product += 1.0
        z /= product
        z *= outgoing
        total += z


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + e^-x), with x cut off at ±30."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))), dtype=np.float64)


def season(hours: NDArray[np.int64], weekday: int) -> Floats:
    """Return the base rate's swing in [-1, 1]: highest at 20:00 and on Saturdays.

    >>> season(np.array([20, 8]), weekday=5).round(3).tolist()
    [1.0, -0.4]
    """
    return np.asarray(0.7 * _HOURS[hours] + 0.3 * _WEEKDAYS[weekday], dtype=np.float64)


def _mean(values: Floats) -> float:
    """Return the mean, the same whatever the order in which a machine would add."""
    return math.fsum(values.tolist()) / len(values)


def _solve(rising: Callable[[float], float]) -> float:
    """Return the root of a rising function in [-40, 40], to 20 binary digits."""
    low, high = -40.0, 40.0
    for _ in range(32):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return round(low * 2**20) / 2**20  # drops the bits in which exponentials differ between machines
