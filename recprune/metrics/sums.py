"""Sums over blocks of rows: enough to compare two models on slices of many days, without the rows.

Legend: N rows, M blocks of a slice, K = len(COLUMNS).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.metrics.intervals import BLOCK, FEWEST_BLOCKS
from recprune.metrics.pooled import student
from recprune.metrics.scores import log_losses, logit
from recprune.metrics.slices import MOST_VALUES

Floats = NDArray[np.float64]
COLUMNS = ("rows", "ours", "theirs", "base", "p_ours", "p_theirs", "label", "scatter")
"""What is summed: rows, the losses of candidate, champion and of always predicting the rows' base rate, the
predictions of candidate and champion, clicks, and the variance that independent clicks give the difference of the two
losses, p·(1 − p)·(logit p_ours − logit p_theirs)², p the mean of both."""
ALL = ("", "")
"""Feature and value of the slice that is all rows."""
Weights = Mapping[str, float]
_PRODUCTS = [(i, j) for i in range(len(COLUMNS)) for j in range(i, len(COLUMNS))]
SCHEMA: dict[str, Any] = {
    "day": pl.String,
    "kind": pl.String,
    "feature": pl.String,
    "value": pl.String,
    "blocks": pl.Int64,
    "sums": pl.Array(pl.Float64, len(COLUMNS)),
    "products": pl.Array(pl.Float64, len(_PRODUCTS)),
}
"""Of the table, a row per day, kind of rows, and slice; `products` is the upper triangle, row by row."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two sums, with its standard error over blocks."""

    value: float
    error: float
    blocks: int

    def half(self, error: float) -> float:
        """Return half of the interval that misses the truth with this probability, t·s of Student's t."""
        return student(1 - error / 2, self.blocks - 1) * self.error

    def detectable(self, error: float) -> float:
        """Return the smallest difference that these rows would show 4 times in 5."""
        return self.half(error) + NormalDist().inv_cdf(0.8) * self.error


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of COLUMNS over M blocks of rows, and of their products."""

    blocks: int
    total: Floats
    """Σ x_j (K,), x_j a block's sums."""
    products: Floats
    """Σ x_j · x_jᵀ (K, K)."""

    @classmethod
    def over(cls, rows: Floats) -> Self:
        """Add up rows in order of time, blocks of 20 neighbours; the last one may be longer.

        Args:
            rows: COLUMNS of each row (N, K), N > 0.
        """
        edges = [i * BLOCK for i in range(max(len(rows) // BLOCK, 1))]
        found = np.add.reduceat(rows, edges)  # (M, K)
        # not found.T @ found: BLAS adds in an order that depends on the threads
        return cls(len(edges), found.sum(axis=0), np.einsum("mi,mj->ij", found, found, optimize=False))

    def __add__(self, other: "Sums") -> "Sums":
        """Return the sums over the blocks of both."""
        return Sums(self.blocks + other.blocks, self.total + other.total, self.products + other.products)

    def of(self, weights: Weights) -> float:
        """Return a weighted sum of the totals."""
        return float(_vector(weights) @ self.total)

    def ratio(self, numerator: Weights, denominator: Weights) -> Ratio | None:
        """Return θ = a·Σx / b·Σx and its standard error √(M / (M − 1) · Σ((a − θ·b)·x_j)²) / b·Σx.

        The error is at least that of independent clicks, where clicks are weighted or two models' losses compared: in
        few rows no click may happen to be seen, and blocks without one scatter too little.

        Returns:
            None if there are too few blocks for an error, or nothing to divide by.
        """
        below = self.of(denominator)
        if self.blocks < FEWEST_BLOCKS or below <= 0:
            return None
        value = self.of(numerator) / below
        rest = _vector(numerator) - value * _vector(denominator)
        spread = float(rest @ self.products @ rest) * self.blocks / (self.blocks - 1)
        chance = self._chance(numerator if set(denominator) == {"rows"} else _named(rest))
        return Ratio(value, max(spread, chance, 0.0) ** 0.5 / below, self.blocks)

    def _chance(self, weights: Weights) -> float:
        """Return the variance of a weighted sum by independent clicks, so frequent that the sum is expected to be 0."""
        if weights.get("ours") and weights.get("theirs"):
            return weights["ours"] ** 2 * self.of({"scatter": 1.0})
        weight = weights.get("label", 0.0)
        if weight == 0:
            return 0.0
        rows = self.of({"rows": 1.0})
        rest = self.of({name: w for name, w in weights.items() if name != "label"})
        rate = min(max(-rest / (weight * rows), 0.0), 1.0)
        return weight**2 * rows * rate * (1 - rate)


def _vector(weights: Weights) -> Floats:
    return np.array([weights.get(name, 0.0) for name in COLUMNS])


def _named(vector: Floats) -> dict[str, float]:
    return dict(zip(COLUMNS, vector.tolist(), strict=True))


def sums_table(
    day: str, kind: str, label: Floats, predictions: tuple[Floats, Floats], columns: Sequence[tuple[str, pl.Series]]
) -> pl.DataFrame:
    """Return the sums of all rows and of every slice, as a table of SCHEMA.

    Small slices too: they are small on one day only.

    Args:
        day: of the rows.
        kind: of the rows, `tail` or `next_day`.
        label: 0 or 1 (N,), in order of time.
        predictions: of candidate and champion (N,).
        columns: what to slice by: name, and a value per row (N,).
    """
    if len(label) == 0:
        return pl.DataFrame(schema=SCHEMA)
    ours, theirs = predictions
    base = log_losses(label, np.full(len(label), label.mean()))
    losses, between = [log_losses(label, p) for p in (ours, theirs)], (ours + theirs) / 2
    scatter = between * (1 - between) * (logit(ours) - logit(theirs)) ** 2
    rows = np.stack([np.ones(len(label)), *losses, base, ours, theirs, label, scatter], axis=1)
    found = [(day, kind, *name, Sums.over(rows[where])) for name, where in _slices(len(label), columns)]
    table = [
        (*about, each.blocks, each.total.tolist(), [float(each.products[i, j]) for i, j in _PRODUCTS])
        for *about, each in found
    ]
    return pl.DataFrame(table, schema=SCHEMA, orient="row")


def _slices(
    rows: int, columns: Sequence[tuple[str, pl.Series]]
) -> Iterator[tuple[tuple[str, str], slice | NDArray[np.intp]]]:
    """Yield feature, value and rows of each slice, all rows first."""
    yield ALL, slice(0, rows)
    for feature, values in columns:
        texts = values.cast(pl.String)
        found = texts.unique()
        if len(found) <= MOST_VALUES:
            for value in sorted(found.to_list()):
                yield (feature, value), np.flatnonzero((texts == value).to_numpy())


def read_sums(table: pl.DataFrame) -> dict[tuple[str, str], Sums]:
    """Return the sums of each slice of a table, the days together, in order."""
    found: dict[tuple[str, str], Sums] = {}
    names = zip(table["feature"], table["value"], table["blocks"], strict=True)
    numbers = zip(table["sums"].to_numpy(), table["products"].to_numpy(), strict=True)
    for (feature, value, blocks), (total, triangle) in zip(names, numbers, strict=True):
        products = np.zeros((len(COLUMNS), len(COLUMNS)))
        for (i, j), product in zip(_PRODUCTS, triangle, strict=True):
            products[i, j] = products[j, i] = product
        each, before = Sums(blocks, np.asarray(total), products), found.get((feature, value))
        found[feature, value] = each if before is None else before + each
    return dict(sorted(found.items()))
