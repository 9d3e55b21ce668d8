"""Calibration: a map of the logit, fitted on the tail's calibrating half, shrunk towards none.

Legend: N rows, K knots.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recprune.metrics.scores import probability

Kind = Literal["offset", "platt", "isotonic"]
Floats = NDArray[np.float64]
BINS, FEWEST, GAP = 16, 100, 0.01
"""Of isotonic regression: most bins, rows of a bin, and least difference of two bins' mean logits: a slope between two
that lie closer would be noise, and no fp32."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map of the logit: linear between knots, with one slope beyond them.

    >>> Calibration((0.0, 1.0), (0.5, 2.0))(np.array([-1.0, 0.5, 3.0])).tolist()
    [-0.5, 1.25, 4.0]
    """

    knots: tuple[float, ...]
    """Logits, ascending (K,)."""
    values: tuple[float, ...]
    """What they become (K,)."""
    slope: float = 1.0

    def __call__(self, logit: Floats) -> Floats:
        """Return the calibrated logits (N,)."""
        within = np.interp(logit, self.knots, self.values)
        below, above = np.minimum(logit - self.knots[0], 0), np.maximum(logit - self.knots[-1], 0)
        return np.asarray(within + self.slope * (below + above))

    @property
    def offset(self) -> float | None:
        """What is added to every logit; None if it is more than that."""
        return self.values[0] - self.knots[0] if len(self.knots) == 1 and self.slope == 1 else None

    def turns(self) -> NDArray[np.float64]:
        """Return by how much the slope changes at each knot (K,)."""
        inner = np.diff(self.values) / np.diff(self.knots)
        return np.diff([self.slope, *inner, self.slope])

    def shifted(self, by: float) -> "Calibration":
        """Return the map with something added to what it gives."""
        return Calibration(self.knots, tuple(value + by for value in self.values), self.slope)


def shift(offset: float) -> Calibration:
    """Return the map that adds an offset."""
    return Calibration((0.0,), (offset,))


def fit(kind: Kind, label: NDArray[np.float32], logit: Floats, prior: float) -> Calibration:
    """Return the map that fits labels best, shrunk towards none.

    Args:
        kind: `offset`: b is added; `platt`: a · logit + b (Platt 1999); `isotonic`: any that rises (Zadrozny and Elkan
            2002), between the mean logits of bins of 100 rows at least.
        label: 0 or 1 (N,).
        logit: the network's (N,).
        prior: standard deviation that the calibration is expected to have, in logits; 0 gives none.
    """
    if prior == 0 or len(label) == 0:
        return shift(0.0)
    if kind == "platt":
        scale, offset = fit_line(label, logit, prior)
        return Calibration((0.0,), (offset,), scale)
    return fit_rising(label, logit, prior) if kind == "isotonic" else shift(fit_offset(label, logit, prior))


def fit_offset(label: NDArray[np.float32], logit: Floats, prior: float) -> float:
    """Return the offset b that minimizes Σ log loss(y, logit + b) + b² / (2·prior²).

    A small tail says little about the base rate, so that the offset stays near 0 until the rows insist.
    The slope Σ (p − y) + b/prior² rises with b and changes its sign between the bounds, so that halving
    them finds its zero (Newton's steps run away when the logits are far off and the prior is wide).

    Args:
        label: 0 or 1 (N,).
        logit: the network's (N,).
        prior: standard deviation that the offset is expected to have, in logits; 0 gives 0.
    """
    if prior == 0 or len(label) == 0:
        return 0.0
    clicks = float(np.sum(label))
    low, high = -(prior**2) * (len(label) - clicks), prior**2 * clicks
    for _ in range(80):
        offset = (low + high) / 2
        slope = float(np.sum(probability(logit + offset) - label)) + offset / prior**2
        low, high = (offset, high) if slope < 0 else (low, offset)
    return (low + high) / 2


def fit_line(label: NDArray[np.float32], logit: Floats, prior: float) -> tuple[float, float]:
    """Return a and b that minimize Σ log loss(y, a · logit + b) + ((a − 1)² + b²) / (2·prior²).

    Newton's steps, halved until the sum falls: it is convex, and has one minimum.
    """
    x = np.stack([logit, np.ones_like(logit)], axis=1)  # (N, 2)
    start = np.array([1.0, 0.0])

    def cost(w: Floats) -> float:
        z = x @ w
        return float(np.sum(np.logaddexp(0.0, z) - label * z)) + float(np.sum((w - start) ** 2)) / (2 * prior**2)

    found = start
    for _ in range(100):
        p = probability(x @ found)
        slope = x.T @ (p - label) + (found - start) / prior**2
        curve = (x * (p * (1 - p))[:, None]).T @ x + np.eye(2) / prior**2
        step, best = np.linalg.solve(curve, slope), cost(found)
        while cost(found - step) > best and np.max(np.abs(step)) > 1e-12:
            step /= 2
        found = found - step
        if np.max(np.abs(step)) < 1e-12:
            break
    return float(found[0]), float(found[1])


def fit_rising(label: NDArray[np.float32], logit: Floats, prior: float) -> Calibration:
    """Return isotonic regression in bins, each rate held near the network's own by the prior.

    A bin of n rows with mean probability p counts as if 1 / (prior² · p · (1 − p)) rows of that probability, the number
    whose logit is as uncertain as the prior, had been seen too. Neighbours that do not rise are joined.
    """
    bins = _bins(logit, max(1, min(BINS, len(label) // FEWEST)))
    p = [float(np.mean(probability(logit[rows]))) for rows in bins]
    seen = [1 / (prior**2 * max(mean * (1 - mean), 1e-9)) for mean in p]
    weights = [len(rows) + n for rows, n in zip(bins, seen, strict=True)]
    rates = [
        (float(np.sum(label[rows])) + n * mean) / weight
        for rows, n, mean, weight in zip(bins, seen, p, weights, strict=True)
    ]
    rising = _rising(rates, weights)
    knots: list[float] = []
    values: list[float] = []
    for rows, rate in zip(bins, rising, strict=True):
        knots.append(float(np.mean(logit[rows])))
        values.append(float(np.log(rate) - np.log1p(-rate)))
    return Calibration(tuple(knots), tuple(values))


def _bins(logit: Floats, count: int) -> list[NDArray[np.intp]]:
    """Return rows by logit in so many parts or fewer: equal logits stay together, and means lie `GAP` apart."""
    ordered = np.sort(logit)
    edges = np.unique(ordered[[len(ordered) * n // count for n in range(1, count)]]) if count > 1 else np.zeros(0)
    part = np.searchsorted(edges, logit, side="left")
    found = list[NDArray[np.intp]]()
    for n in range(len(edges) + 1):
        rows = np.flatnonzero(part == n)
        if len(rows) and found and np.mean(logit[rows]) - np.mean(logit[found[-1]]) < GAP:
            found[-1] = np.concatenate([found[-1], rows])
        elif len(rows):
            found.append(rows)
    return found


def _rising(rates: list[float], weights: list[float]) -> list[float]:
    """Return the nearest rates that never fall: pools of adjacent violators.

    >>> _rising([0.1, 0.4, 0.2, 0.5], [1, 1, 1, 1])
    [0.1, 0.30000000000000004, 0.30000000000000004, 0.5]
    """
    pools: list[tuple[float, float, int]] = []
    for rate, weight in zip(rates, weights, strict=True):
        pools.append((rate, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, n, i), (b, m, j) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m, i + j)]
    return [rate for rate, _, count in pools for _ in range(count)]


def mean_offset(calibration: Calibration, logit: Floats) -> float:
    """Return what a calibration adds to logits on average; without any to 0."""
    if calibration.offset is not None:
        return calibration.offset
    some = logit if len(logit) else np.zeros(1)
    return float(np.mean(calibration(some) - some))
