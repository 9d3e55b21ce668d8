"""From raw values to vectors, as nodes: look-ups, the embedding table, numbers.

Legend: n rows (R of requests, N of a call), F features read, Q numbers, V vectors, D embedding width.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from recprune.data.schema import MISSING_INT, Feature, Schema
from recprune.data.vocabulary import Vocabulary
from recprune.lowering.builder import Builder
from recprune.lowering.layers import Part
from recprune.lowering.lowering import Lowering
from recprune.model.line import Line
from recprune.model.network import CLIP, LARGEST

NO_STRING = "\x00recprune: no id"
"""Key of a look-up table that has no ids yet."""
LEVELS, MIDDLE = 255, 127
"""Steps of an 8-bit number, and the one that is 0."""


def of_request(schema: Schema) -> tuple[Feature, ...]:
    """Return the features of which a call has one value; none if no feature is of the row."""
    found = tuple(f for f in schema.features if f.per == "request")
    return found if len(found) < len(schema.features) else ()


def count_rows(build: Builder, schema: Schema) -> str:
    """Return the number of rows of the call (1,)."""
    request = of_request(schema)
    return build.node("Shape", [next(f.name for f in schema.features if f not in request)])


def look_up(build: Builder, line: Line, vocabulary: Vocabulary, positions: Sequence[int] | None = None) -> str | None:
    """Return the table rows of the features that are read (F, n); None if there are none.

    The table of all features is one: a look-up gives the row within it at once.

    Args:
        build: where the nodes go.
        line: says which features are read, and where their rows begin.
        vocabulary: ids to rows.
        positions: of some of the features that are read; None for all.
    """
    read = line.shape.reading.features.tolist() if positions is None else positions
    offsets = line.offsets().tolist()
    with build.section("lookups"):
        rows = [_look_up_one(build, vocabulary, vocabulary.features[i], offsets[i]) for i in read]
        if not rows:
            return None
        return build.reshape(rows[0] if len(rows) == 1 else build.node("Concat", rows, axis=0), len(rows), -1)


def _look_up_one(build: Builder, vocabulary: Vocabulary, feature: Feature, offset: int) -> str:
    known = vocabulary.admitted(feature.name)
    rows = [int(r) + offset for r in known["row"]] or [offset]
    if feature.dtype == "int64":
        keys: dict[str, Any] = {"keys_int64s": known["id"].to_list() or [MISSING_INT]}
    else:
        keys = {"keys_strings": known["id"].to_list() or [NO_STRING]}
    return build.node(
        "LabelEncoder", [feature.name], domain="ai.onnx.ml", values_int64s=rows, default_int64=offset, **keys
    )


def embedded(build: Builder, line: Line, rows: str, positions: Sequence[int], lowering: Lowering, by_row: bool) -> str:
    """Return the vectors of looked-up rows (F, n) → (n, F, D) or (F, n, D).

    Args:
        build: where the nodes go.
        line: its whole table becomes one constant.
        rows: of the table.
        positions: which features they are of.
        lowering: as what numbers the table is kept.
        by_row: which layout is asked.
    """
    with build.section("gathers"):
        index = build.node("Transpose", [rows], perm=[1, 0]) if by_row else rows
        table = line.weights["embedding"].numpy()
        if lowering.rows == "fp32":
            return build.node("Gather", [build.constant("embedding", table), index], axis=0)
        whole, scales, zeros = quantized_rows(table, line.sizes)
        found = build.node("Gather", [build.constant("embedding", whole), index], axis=0)
        of_these, name = list(positions), ",".join(map(str, positions))
        zero = build.constant(f"embedding.zero/{name}", zeros[of_these])
        if not by_row:
            scale = build.constant(f"embedding.scale/{name}", scales[of_these])
            return build.node("DequantizeLinear", [found, scale, zero], axis=0)
        # a factor apart: ONNX Runtime (1.31) joins DequantizeLinear with the product of all pairs and then refuses it
        factor = scales.max() * np.float32(0.75)
        scale = build.constant(f"embedding.scale/{name}", scales[of_these] / factor)
        steps = build.node("DequantizeLinear", [found, scale, zero], axis=1)
        return build.node("Mul", [steps, build.constant("embedding.factor", np.array(factor, np.float32))])


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


def number_part(build: Builder, line: Line, schema: Schema) -> Part:
    """Return the numbers as the bottom tower reads them: of the request if all are, else for each row.

    Transforms of few numbers cost their nodes, not their numbers: those of the request are repeated before, not after.
    """
    names = [f.name for f in schema.numeric]
    once = [f.name for f in schema.numeric if f in of_request(schema)]
    with build.section("rest"):
        if len(once) in (0, len(names)):
            raw = _stacked(build, names)
        else:
            both = [for_each_row(build, schema, _stacked(build, once), axis=1)]
            order = [*once, *(name for name in names if name not in once)]
            both.append(_stacked(build, order[len(once) :]))
            raw = picked_in_order(build, build.node("Concat", both, axis=0), [order.index(name) for name in names])
        x = standardize(build, line, raw)
        return Part(x, np.arange(2 * len(names)), turned=True, request=len(once) == len(names))


def _stacked(build: Builder, names: Sequence[str]) -> str:
    """Return inputs (n,) as rows of a matrix."""
    return build.reshape(names[0] if len(names) == 1 else build.node("Concat", names, axis=0), len(names), -1)


def picked_in_order(build: Builder, x: str, order: Sequence[int]) -> str:
    """Return the rows of a matrix in an order."""
    if list(order) == sorted(order):
        return x
    name = f"order/{','.join(map(str, order))}"
    return build.node("Gather", [x, build.constant(name, np.array(order, np.int64))], axis=0)


def for_each_row(build: Builder, schema: Schema, x: str, axis: int) -> str:
    """Repeat what there is one of per request (·, R) or (R, ·) for each row."""
    parts = [count_rows(build, schema), build.integers(1)]
    return build.node("Expand", [x, build.node("Concat", parts if axis == 0 else parts[::-1], axis=0)])


def standardize(build: Builder, line: Line, numbers: str) -> str:
    """Return numbers (Q, n) as the bottom tower reads them (2Q, n): see `network.standardize`, float64 to the end."""
    raw = build.node("Cast", [numbers], to=TensorProto.DOUBLE)
    zero, one = (build.constant(str(value), np.array(value, np.float64)) for value in (0, 1))
    finite = _clip(build, raw, "largest", LARGEST)
    grown = build.node("Add", [build.node("Abs", [finite]), one])
    squeezed = build.node("Mul", [build.node("Sign", [finite]), build.node("Log", [grown])])
    mean, deviation = (x.numpy()[:, None] for x in line.scale())
    centred = build.node("Sub", [squeezed, build.constant("mean", mean)])
    z = build.node("Div", [centred, build.constant("deviation", deviation)])
    missing = build.node("IsNaN", [raw])
    there = _clip(build, build.node("Where", [missing, zero, z]), "clip", CLIP)
    both = build.node("Concat", [there, build.node("Cast", [missing], to=TensorProto.DOUBLE)], axis=0)  # (2Q, n)
    return build.node("Cast", [both], to=TensorProto.FLOAT)


def _clip(build: Builder, x: str, name: str, limit: float) -> str:
    ends = [build.constant(f"{sign}{name}", np.array(float(f"{sign}{limit}"))) for sign in "-+"]
    return build.node("Clip", [x, *ends])
