"""A graph becomes a model file: fp32 first, proved against torch, then lowered further if asked."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray

from recprune.errors import RecpruneError
from recprune.lowering.int8 import quantize
from recprune.lowering.parity import largest_difference


def write_model(
    graph: onnx.ModelProto,
    file: Path,
    precision: Literal["fp32", "int8"],
    rows: pl.DataFrame,
    expected: NDArray[np.float64],
) -> dict[str, Any]:
    """Write a graph in a precision and return the largest differences from torch, per precision.

    Args:
        graph: what `build_graph` returned.
        file: where the model is written.
        precision: of the fully connected layers.
        rows: raw feature values, a column per input.
        expected: torch's probabilities (N,).

    Raises:
        RecpruneError: the model gives values that are not finite.
    """
    onnx.save(graph, file)
    found: dict[str, Any] = {"fp32": _parity(file, rows, expected)}
    if precision == "int8":
        fp32 = file.rename(file.with_name("fp32.onnx"))
        quantize(fp32, file)
        fp32.unlink()
        found["int8"] = _parity(file, rows, expected)
    return {**found, "rows": len(rows)}


def _parity(file: Path, rows: pl.DataFrame, expected: NDArray[np.float64]) -> float:
    difference = largest_difference(file, rows, expected)
    if not np.isfinite(difference):
        raise RecpruneError(
            f"the exported graph or torch gives values that are not finite on {len(rows)} real rows; "
            "nothing was exported: see the finite rule of the days before, or lower train.learning_rate."
        )
    return difference
