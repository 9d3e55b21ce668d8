"""The served network as an ONNX graph: raw feature values in, `p_click` out.

Built node by node, not traced: look-ups (`ai.onnx.ml.LabelEncoder`), numeric transforms, network and
calibration are all in the file, so that serving cannot differ from training.

A ranking request is one user and context against N candidates. Features that are `per: request` enter once
(R = 1) or once for each row (R = N: plain rows); what the network makes of them alone is computed on R rows and
broadcast.

Legend: N rows of a call, R requests, n either, F features read, Q numbers, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from recprune.data.schema import Schema
from recprune.data.vocabulary import Vocabulary
from recprune.lowering.builder import P_CLICK, Builder
from recprune.lowering.calibrate import Calibration, shift
from recprune.lowering.families import APART, LOGITS, Writer
from recprune.lowering.inputs import graph_inputs, of_request
from recprune.lowering.interaction import Stack, reads_by_row, usual_lowering
from recprune.lowering.layers import Layers
from recprune.lowering.look_up import (
    count_rows,
    for_each_row,
    look_up,
    number_part,
    picked_in_order,
)
from recprune.lowering.lowering import Lowering, Ranges
from recprune.lowering.ready import ReadyRows, ready_schema
from recprune.lowering.table import gathered, look_up_one, pooled, written_table
from recprune.model.line import Line


@dataclass(frozen=True, slots=True)
class Network:
    """What a graph is built of."""

    line: Line
    vocabulary: Vocabulary | ReadyRows
    schema: Schema

    def ready(self) -> "Network":
        """Return the same network behind its look-ups: it takes rows of the table; see `ready_values`."""
        return Network(self.line, ReadyRows(self.vocabulary.features), ready_schema(self.schema))


def build_graph(
    line: Line,
    vocabulary: Vocabulary | ReadyRows,
    schema: Schema,
    calibration: Calibration | float,
    lowering: Lowering | None = None,
    ranges: Ranges | None = None,
) -> onnx.ModelProto:
    """Return the network as an ONNX model.

    A feature that is not read is an input all the same, so that whoever calls need not know what was pruned.

    Args:
        line: the served line; its rows follow the vocabulary.
        vocabulary: ids to rows.
        schema: names and types of the inputs, each of shape [N] or, those of the request, [R].
        calibration: of the logit, or what is added to it.
        lowering: how it is written down; the usual way if None.
        ranges: of the layers' inputs; int8 needs them.
    """
    map_ = shift(calibration) if isinstance(calibration, float) else calibration
    return _written(line, vocabulary, schema, map_, lowering, ranges).model(graph_inputs(schema))


def watched_graph(network: Network) -> tuple[onnx.ModelProto, dict[str, list[tuple[str, int]]]]:
    """Return an fp32 model that gives the inputs of its layers, too, and by layer their names and rows' axes."""
    line, vocabulary, schema = network.line, network.vocabulary, network.schema
    build = _written(line, vocabulary, schema, shift(0.0), Lowering(), None)
    names = dict.fromkeys(name for fed in build.fed.values() for name, _ in fed)
    watched = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in names]
    return build.model(graph_inputs(schema), [P_CLICK, *watched]), build.fed


def _written(
    line: Line,
    vocabulary: Vocabulary | ReadyRows,
    schema: Schema,
    calibration: Calibration,
    lowering: Lowering | None,
    ranges: Ranges | None,
) -> Builder:
    build, how = Builder(), lowering or usual_lowering(line.shape)
    writer = Writer(build, line, how, Layers(build, line, how.layers, ranges or {}))
    stacks = stack(writer, vocabulary, schema)
    logit = LOGITS[line.shape.family](writer, stacks, calibration.offset or 0.0)  # (N, 1)
    if calibration.offset is None:
        logit = calibrated(build, logit, calibration)
    logit = build.reshape(logit, -1)
    if any(s.request for s in stacks) and all(s.request for s in stacks):
        logit = build.node("Expand", [logit, count_rows(build, schema)])
    build.node("Sigmoid", [logit], output=P_CLICK.name)
    return build


def calibrated(build: Builder, logit: str, calibration: Calibration) -> str:
    """Return g(z) = v₁ + s·(z − t₁) + Σ Δₖ·relu(z − tₖ) (N, 1): knots t, values v, slope s, its changes Δ."""
    knots = np.array(calibration.knots, np.float32)
    ones = build.constant("calibration.ones", np.ones((len(knots), 1), np.float32))
    beyond = build.node(
        "Relu", [build.node("Gemm", [logit, ones, build.constant("calibration.knots", -knots)], transB=1)]
    )
    turns = build.constant("calibration.turns", calibration.turns().astype(np.float32)[None])
    start = np.array([calibration.values[0] - calibration.slope * calibration.knots[0]], np.float32)
    bent = build.node("Gemm", [beyond, turns, build.constant("calibration.start", start)], transB=1)
    slope = build.constant("calibration.slope", np.array(calibration.slope, np.float32))
    return build.node("Add", [build.node("Mul", [logit, slope]), bent])


def stack(writer: Writer, vocabulary: Vocabulary | ReadyRows, schema: Schema) -> list[Stack]:
    """Return the vectors that are read, of the request and of the rows apart where the family allows it."""
    build, shape, reading = writer.build, writer.line.shape, writer.line.shape.reading
    by_row, shift = reads_by_row(shape, writer.lowering), int(bool(shape.numeric))
    request = {f.name for f in of_request(schema)}
    read = [shape.vectors[v] for v in reading.vectors]
    numbers = None
    if shape.numeric and 0 in reading.vectors:
        part = number_part(build, writer.line, schema)
        numbers = writer.layers.tower("bottom", [part])
        if part.request:
            request.add(read[0])
    found = []
    for side in (True, False) if shape.family in APART else (None,):
        places = [i for i, name in enumerate(read) if side is None or (name in request) == side]
        if places:
            here = numbers if numbers is not None and places[0] == 0 else None
            positions = [reading.vectors[i] - shift for i in places if not (here and i == 0)]
            looked_up = _looked_up(writer, vocabulary, schema, positions, together=side is None, by_row=by_row)
            if here and side is None and read[0] in request:
                here = for_each_row(build, schema, here, axis=0)
            found.append(
                Stack(_stacked(build, here, looked_up, by_row=by_row), tuple(places), by_row, request=bool(side))
            )
    return found


def _rows(
    writer: Writer, vocabulary: Vocabulary | ReadyRows, schema: Schema, positions: Sequence[int], together: bool
) -> str | None:
    """Return the table rows of features (F, n); of the request's and the others' together (F, N)."""
    request = {f.name for f in of_request(schema)} if together else set[str]()
    names = writer.line.shape.categorical
    of_one = [i for i in positions if names[i] in request]
    others = [i for i in positions if names[i] not in request]
    build, line = writer.build, writer.line
    once, each = (look_up(build, line, vocabulary, some) for some in (of_one, others))
    if once is None:
        return each
    with build.section("lookups"):
        spread = for_each_row(build, schema, once, axis=1)
        if each is None:
            return spread
        both = build.node("Concat", [spread, each], axis=0)
        return picked_in_order(build, both, np.argsort([*of_one, *others]).tolist())


def _looked_up(
    writer: Writer,
    vocabulary: Vocabulary | ReadyRows,
    schema: Schema,
    positions: Sequence[int],
    *,
    together: bool,
    by_row: bool,
) -> str | None:
    """Return the vectors of features (n, F, D) or (F, n, D); of the request's and the others' together for each row."""
    build, line = writer.build, writer.line
    lists = [i for i in positions if vocabulary.features[i].pooling is not None]
    single = [i for i in positions if i not in lists]
    if not positions:
        return None
    table, rows = written_table(build, line, writer.lowering), _rows(writer, vocabulary, schema, single, together)
    request = {f.name for f in of_request(schema)} if together else set[str]()
    with build.section("gathers"):
        parts = [] if rows is None else [gathered(build, table, rows, single, by_row)]
        for i in lists:
            with build.section("lookups"):
                found = look_up_one(build, line, vocabulary, i)
            found = pooled(build, table, line, found, i)
            if vocabulary.features[i].name in request:
                found = for_each_row(build, schema, found, axis=0)
            parts.append(build.node("Unsqueeze", [found, build.integers(1 if by_row else 0)]))
        if not lists:
            return parts[0]
        axis = 1 if by_row else 0
        both = parts[0] if len(parts) == 1 else build.node("Concat", parts, axis=axis)
        return picked_in_order(build, both, np.argsort([*single, *lists]).tolist(), axis)


def _stacked(build: Builder, numbers: str | None, looked_up: str | None, *, by_row: bool) -> str:
    """Return the vectors of the numbers (n, D) and those that were looked up as one tensor."""
    parts, axis = [], 1 if by_row else 0
    with build.section("gathers"):
        if numbers is not None:
            parts.append(build.node("Unsqueeze", [numbers, build.integers(axis)]))
        if looked_up is not None:
            parts.append(looked_up)
        return parts[0] if len(parts) == 1 else build.node("Concat", parts, axis=axis)
