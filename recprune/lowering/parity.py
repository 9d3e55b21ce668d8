"""Parity: the exported graph in ONNX Runtime against torch, from the raw row to `p_click`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from recprune.lowering.session import Feed, feed, open_session


def largest_difference(model: Path | InferenceSession, rows: pl.DataFrame, expected: NDArray[np.float64]) -> float:
    """Return max |p_onnx − p_torch| over the rows as one batch, and over the first rows one by one.

    NaN if any value is NaN, 0 without rows.

    Args:
        model: the ONNX file, or one that was opened.
        rows: raw feature values, a column per input.
        expected: torch's probabilities (N,).
    """
    parts = [slice(0, len(rows)), *(slice(i, i + 1) for i in range(min(8, len(rows))))]
    worst = [0.0]
    for part, p in zip(parts, scores(model, rows, parts), strict=True):
        worst += [float(np.max(np.abs(p - expected[part])))] if len(p) else []
    return float(np.max(worst))  # unlike Python's max, keeps NaN


def scores(
    model: Path | InferenceSession, rows: pl.DataFrame | Feed, parts: Sequence[slice]
) -> Iterator[NDArray[np.float32]]:
    """Yield what a model gives for each part of the rows, as one batch each."""
    session = open_session(model) if isinstance(model, Path) else model
    columns = feed(rows) if isinstance(rows, pl.DataFrame) else rows
    for part in parts:
        yield session.run(["p_click"], {name: v[part] for name, v in columns.items()})[0]
