"""From raw values to table rows and standardized numbers, as nodes.

Legend: n rows (R of requests, N of a call), F features read, Q numbers, V vectors, D embedding width.
"""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from recprune.data.schema import Schema
from recprune.data.vocabulary import Vocabulary
from recprune.lowering.builder import Builder
from recprune.lowering.inputs import of_request
from recprune.lowering.layers import Part
from recprune.lowering.ready import ReadyRows
from recprune.lowering.table import look_up_one
from recprune.model.line import Line
from recprune.model.network import CLIP, LARGEST


def count_rows(build: Builder, schema: Schema) -> str:
    """Return the number of rows of the call (1,)."""
    request = of_request(schema)
    return build.node("Shape", [next(f.name for f in schema.features if f not in request)], start=0, end=1)


def look_up(
    build: Builder, line: Line, vocabulary: Vocabulary | ReadyRows, positions: Sequence[int] | None = None
) -> str | None:
    """Return the table rows of features that have one id (F, n); None if there are none.

    The table of all features is one: a look-up gives the row within it at once.

    Args:
        build: where the nodes go.
        line: says which features are read, and where their rows begin.
        vocabulary: ids to rows.
        positions: of some of the features that are read; None for all of one id.
    """
    every = [i for i in line.shape.reading.features.tolist() if vocabulary.features[i].pooling is None]
    read = every if positions is None else positions
    with build.section("lookups"):
        rows = [look_up_one(build, line, vocabulary, i) for i in read]
        if not rows:
            return None
        return build.reshape(rows[0] if len(rows) == 1 else build.node("Concat", rows, axis=0), len(rows), -1)


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


def picked_in_order(build: Builder, x: str, order: Sequence[int], axis: int = 0) -> str:
    """Return the slices of a tensor along an axis in an order."""
    if list(order) == sorted(order):
        return x
    name = f"order/{','.join(map(str, order))}"
    return build.node("Gather", [x, build.constant(name, np.array(order, np.int64))], axis=axis)


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
