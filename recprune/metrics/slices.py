"""Who pays for the sparsity: every model on slices of a day, with intervals that share their error."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.metrics.intervals import paired
from recprune.metrics.scores import calibration, log_losses, normalized_entropy

MOST_VALUES, FEWEST_ROWS = 12, 200
"""A feature with more values gives no slices, a slice with fewer rows is left out."""
WHOLE = 0.95
"""A slice with more of the rows is the day itself, and would only take its part of the error."""
HOUR, KNOWN, NEW = "hour (UTC)", "seen before", "new"


def slices(
    label: NDArray[np.float64], predictions: Mapping[str, NDArray[np.float64]], columns: Sequence[tuple[str, pl.Series]]
) -> list[dict[str, Any]]:
    """Return each slice's rows, base rate, calibration of the champion, every model's NE, and the served line's tax.

    Tax is NE(served) / NE(dense) − 1 on the slice's rows. All taxes of a day share an error of 5 % (Bonferroni): of m
    slices each has an interval of confidence 1 − 0.05 / m.

    Args:
        label: 0 or 1 (N,), in order of time.
        predictions: of `champion`, `served`, `dense` and perhaps `challenger` (N,).
        columns: what to slice by: name, and a value per row (N,).
    """
    confidence = 1 - 0.05 / max(1, sum(1 for _ in _parts(columns)))
    losses = {name: log_losses(label, p) for name, p in predictions.items()}
    found = []
    for feature, value, chosen in _parts(columns):
        rows = np.flatnonzero(chosen.to_numpy())
        tax = paired(losses["served"][rows], losses["dense"][rows], confidence) if "dense" in losses else None
        found.append(
            {
                "feature": feature,
                "value": value,
                "rows": len(rows),
                "base_rate": float(label[rows].mean()),
                "calibration": _finite(calibration(label[rows], predictions["champion"][rows])),
                "ne": {name: _finite(normalized_entropy(label[rows], p[rows])) for name, p in predictions.items()},
                "tax": tax.to_json() if tax else None,
            }
        )
    return found


def _parts(columns: Sequence[tuple[str, pl.Series]]) -> Iterator[tuple[str, str, pl.Series]]:
    """Yield feature, value and which rows have it, of each slice, values in order."""
    for feature, values in columns:
        counted = dict(values.rename("value").value_counts().iter_rows())
        if len(counted) > MOST_VALUES:
            continue
        for value in sorted(counted, key=_order):
            if FEWEST_ROWS <= counted[value] <= WHOLE * len(values):
                yield feature, str(value), values == value


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def hours(times: pl.Series) -> pl.Series:
    """Return each event's quarter of the day, as `00–06`, which few days are too small for."""
    quarter = times.dt.hour() // 6
    return quarter.replace_strict({n: f"{6 * n:02}–{6 * n + 6:02}" for n in range(4)}, return_dtype=pl.String)
