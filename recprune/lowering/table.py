"""The embedding table as a constant, of floats or of 8-bit integers.

Legend: R rows of the table, n rows (of requests or of a call), F features, S ids of a list, D embedding width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto

from recprune.data.schema import MISSING_INT, Feature
from recprune.data.vocabulary import Vocabulary
from recprune.lowering.builder import Builder
from recprune.lowering.lowering import Lowering
from recprune.lowering.ready import ReadyRows
from recprune.model.line import Line

NO_STRING = "\x00recprune: no id"
"""Key of a look-up table that has no ids yet."""
LEVELS, MIDDLE = 255, 127
"""Steps of an 8-bit number, and the one that is 0."""


def look_up_one(build: Builder, line: Line, vocabulary: Vocabulary | ReadyRows, position: int) -> str:
    """Return the table rows of a feature's ids, in the shape of its input.

    Of lists, what only fills them up has the row after the table's last one, which is 0.
    """
    feature, offset = vocabulary.features[position], line.offsets().tolist()[position]
    if isinstance(vocabulary, ReadyRows):
        return feature.name
    known = vocabulary.admitted(feature.name)
    ids = known["id"] if feature.dtype == "int64" else known["id"].cast(pl.Binary)
    keys, rows = ids.to_list(), (known["row"].cast(pl.Int64) + offset).to_list()
    if feature.pooling is not None:
        keys, rows = [*keys, _key(feature.missing)], [*rows, sum(line.sizes)]
    return build.encoder(feature.name, keys or [_no_id(feature)], rows or [offset], offset)


def _no_id(feature: Feature) -> int | bytes:
    return MISSING_INT if feature.dtype == "int64" else _key(NO_STRING)


def _key(id_: Any) -> Any:
    return id_.encode() if isinstance(id_, str) else id_


@dataclass(frozen=True, slots=True)
class Table:
    """The constant, and how its numbers are read."""

    name: str
    scales: NDArray[np.float32] | None
    """Of each feature; None for floats."""
    zeros: NDArray[np.uint8] | None


def written_table(build: Builder, line: Line, lowering: Lowering) -> Table:
    """Write the table, with a row of zeros after its last one where lists are read."""
    table: NDArray[np.generic] = line.weights["embedding"].numpy()
    fill, scales, zeros = 0, None, None
    if lowering.rows != "fp32":
        table, scales, zeros = quantized_rows(line.weights["embedding"].numpy(), line.sizes)
        fill = MIDDLE
    if line.shape.reading.owners is not None:
        table = np.concatenate([table, np.full((1, table.shape[1]), fill, table.dtype)])
    return Table(build.constant("embedding", table), scales, zeros)


def gathered(build: Builder, table: Table, rows: str, positions: Sequence[int], by_row: bool) -> str:
    """Return the vectors of looked-up rows (F, n) → (n, F, D) or (F, n, D).

    Args:
        build: where the nodes go.
        table: of all features.
        rows: of the table.
        positions: which features they are of.
        by_row: which layout is asked.
    """
    index = build.node("Transpose", [rows], perm=[1, 0]) if by_row else rows
    found = build.node("Gather", [table.name, index], axis=0)
    if table.scales is None or table.zeros is None:
        return found
    of_these, name = list(positions), ",".join(map(str, positions))
    zero = build.constant(f"embedding.zero/{name}", table.zeros[of_these])
    if not by_row:
        scale = build.constant(f"embedding.scale/{name}", table.scales[of_these])
        return build.node("DequantizeLinear", [found, scale, zero], axis=0)
    # a factor apart: ONNX Runtime (1.31) joins DequantizeLinear with the product of all pairs and then refuses it
    factor = table.scales.max() * np.float32(0.75)
    scale = build.constant(f"embedding.scale/{name}", table.scales[of_these] / factor)
    steps = build.node("DequantizeLinear", [found, scale, zero], axis=1)
    return build.node("Mul", [steps, build.constant("embedding.factor", np.array(factor, np.float32))])


def pooled(build: Builder, table: Table, line: Line, rows: str, position: int) -> str:
    """Return the mean or sum of a list's rows (n, S) → (n, D); an empty list is 0. See `network.pooled`."""
    found = build.node("Gather", [table.name, rows], axis=0)  # (n, S, D)
    if table.scales is not None and table.zeros is not None:
        scale = build.constant(f"embedding.list.scale/{position}", table.scales[position])
        zero = build.constant(f"embedding.list.zero/{position}", table.zeros[position])
        found = build.node("DequantizeLinear", [found, scale, zero])
    total = build.node("ReduceSum", [found, build.integers(1)], keepdims=0)
    if line.shape.pooling[position] == "sum":
        return total
    nothing, one, end = (build.constant(f"whole/{n}", np.array(n, np.int64)) for n in (0, 1, sum(line.sizes)))
    there = build.node("Clip", [build.node("Sub", [end, rows]), nothing, one])
    count = build.node("ReduceSum", [build.node("Cast", [there], to=TensorProto.FLOAT), build.integers(1)], keepdims=1)
    return build.node("Div", [total, build.node("Clip", [count, build.constant("one", np.array(1, np.float32))])])


def quantized_rows(
    table: NDArray[np.float32], sizes: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Return the table as 8-bit integers, and each feature's scale and zero point: x ≈ scale · (q − zero).

    Scales are eighths of powers of two and zero points the same for all, so that a row that did not change keeps its
    bytes while its feature's largest value moves a little: what differs from day to day stays small.

    Args:
        table: rows of all features (R, D).
        sizes: rows of each feature.
    """
    whole = np.zeros(table.shape, np.uint8)
    scales, zeros, start = np.ones(len(sizes), np.float32), np.zeros(len(sizes), np.uint8), 0
    for i, size in enumerate(sizes):
        rows = table[start : start + size]
        low, high = min(0.0, float(rows.min(initial=0.0))), max(0.0, float(rows.max(initial=0.0)))
        largest = max(-low, high)
        if largest > 0:
            scales[i] = 2.0 ** (math.ceil(8 * math.log2(largest / MIDDLE)) / 8)
        zeros[i] = MIDDLE
        whole[start : start + size] = np.clip(np.rint(rows / scales[i]) + zeros[i], 0, LEVELS)
        start += size
    return whole, scales, zeros
