"""Paired comparison of two models on the same rows, with interval and detectable difference."""

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.metrics.pooled import student

BLOCK = 20
"""Rows in a block: neighbours in time (one basket, one page) are not independent, blocks nearly are."""
FEWEST_BLOCKS = 10
"""Fewer blocks than this give no interval."""


@dataclass(frozen=True, slots=True)
class Paired:
    """A relative difference of mean losses, first model − second, on the same rows."""

    rows: int
    difference: float | None
    """(mean loss of the first − mean loss of the second) / mean loss of the second; None without rows."""
    low: float | None
    high: float | None
    """Ends of the interval; None if there are too few rows for one."""
    detectable: float | None
    """Smallest relative difference that these rows would show 4 times in 5."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def blocks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of consecutive blocks of rows, in order of time; the last one may be longer.

    >>> blocks(np.arange(45.0))
    array([ 9.5, 32. ])
    """
    n = max(len(values) // BLOCK, 1)
    edges = [i * BLOCK for i in range(n)]
    lengths = np.diff([*edges, len(values)])
    return np.asarray(np.add.reduceat(values, edges) / lengths) if len(values) else np.zeros(0)


def paired(first: NDArray[np.float64], second: NDArray[np.float64], confidence: float = 0.95) -> Paired:
    """Compare two models' losses on the same rows, in order of time.

    The interval is mean ± t·s/√m over the m blocks' mean differences (batch means), t Student's with m − 1 degrees of
    freedom.
    """
    if len(first) == 0:
        return Paired(0, None, None, None, None)
    scale = float(np.mean(second))
    difference = float(np.mean(first - second)) / scale
    means = blocks(first - second)
    if len(means) < FEWEST_BLOCKS:
        return Paired(len(first), difference, None, None, None)
    error = float(np.std(means, ddof=1)) / len(means) ** 0.5 / scale
    t = student(0.5 + confidence / 2, len(means) - 1)
    detectable = (t + NormalDist().inv_cdf(0.8)) * error
    return Paired(len(first), difference, difference - t * error, difference + t * error, detectable)
