"""Chance that is the same on every machine: each number is named by a seed and a key.

Only the bit generator's raw words are used, which NumPy keeps the same for ever, and arithmetic that
IEEE 754 rounds in one way. NumPy's own distributions may change between versions.
"""

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Stream(IntEnum):
    """What a number is for. Own streams keep the settings apart: one knob moves only its own drift."""

    TASTE = 0
    TASTE_STEP = 1
    ID_DEATH = 2
    ID_BIRTH = 3
    UNIT = 4
    UNIT_DEATH = 5
    INFORMATIVE = 6
    SILENT = 7
    TIME = 8
    ID = 9
    NUMBER = 10
    GAP = 11
    CLICK = 12
    FAULT = 13


@dataclass(frozen=True, slots=True)
class Chance:
    """Numbers for one day; the same key gives the same numbers."""

    seed: int
    day: int

    def uniform(self, stream: Stream, count: int, *, batch: int = 0, column: int = 0) -> Floats:
        """Return numbers in [0, 1), `(count,)`: 53 random bits each.

        >>> Chance(7, 0).uniform(Stream.CLICK, 2).tolist()
        [0.969374402773993, 0.21865933898959278]
        """
        key = np.random.SeedSequence(self.seed % 2**64, spawn_key=(stream, self.day, batch, column))
        raw = np.random.PCG64(key).random_raw(count)
        return np.asarray((raw >> np.uint64(11)) * 2.0**-53, dtype=np.float64)

    def bell(self, stream: Stream, count: int, *, column: int = 0) -> Floats:
        """Return bell-shaped numbers of mean 0 and variance 1, `(count,)`: sums of four uniform ones."""
        a, b, c, d = self.uniform(stream, 4 * count, column=column).reshape(4, count)
        return np.asarray((a + b + c + d - 2.0) * math.sqrt(3.0), dtype=np.float64)

    def choose(self, stream: Stream, among: int, count: int, *, column: int = 0) -> NDArray[np.int64]:
        """Return `count` different numbers below `among`, ascending, each equally likely."""
        if count == 0:
            return np.zeros(0, dtype=np.int64)
        draws = self.uniform(stream, among, column=column)
        return np.sort(np.argpartition(draws, count - 1)[:count])


def centred(uniform: Floats) -> Floats:
    """Shift and scale numbers that are uniform on [0, 1) to mean 0 and variance 1.

    >>> centred(np.array([0.5, 1.0])).round(3).tolist()
    [0.0, 1.732]
    """
    return np.asarray((uniform - 0.5) * math.sqrt(12.0), dtype=np.float64)
