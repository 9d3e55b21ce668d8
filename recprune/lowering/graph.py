"""The served network as an ONNX graph: raw feature values in, `p_click` out.

Built node by node, not traced: look-ups (`ai.onnx.ml.LabelEncoder`), numeric transforms, network and
calibration are all in the file, so that serving cannot differ from training.

Legend: N rows of a request, D embedding width, V used vectors, K kept inputs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from recprune.data.schema import MISSING_INT, Feature, Schema
from recprune.data.vocabulary import Vocabulary
from recprune.model.dlrm import CLIP, LARGEST
from recprune.model.line import Line

OPSETS = {"": 20, "ai.onnx.ml": 3}
NO_STRING = "\x00recprune: no id"
"""Key of a look-up table that has no ids yet."""


def build_graph(line: Line, vocabulary: Vocabulary, schema: Schema, offset: float) -> onnx.ModelProto:
    """Return the network as a checked ONNX model.

    Args:
        line: the served line; its rows follow the vocabulary.
        vocabulary: ids to rows.
        schema: names and types of the inputs, each of shape [N].
        offset: calibration, added to the logit.
    """
    build = _Builder()
    used = sorted({v for i in line.shape.inputs for v in _vectors_of(line, i)})
    vectors = [_vector(build, line, vocabulary, schema, v) for v in used]
    place = {v: i for i, v in enumerate(used)}
    inputs = _inputs(build, line, vectors, place)
    logit = _tower(build, line, "top", len(line.shape.top), inputs, offset)
    flat = build.node("Reshape", [logit, build.constant("flat", np.array([-1], np.int64))])
    build.node("Sigmoid", [flat], output="p_click")
    return build.model([_input(f) for f in schema.features])


class _Builder:
    """Collects nodes and constants; names its own tensors so that they cannot meet a feature's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, inputs: Sequence[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        own = f"recprune/{len(self.nodes)}"
        name = output or f"{own}/{kind}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=own, domain=domain, **attributes))
        return name

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        full = f"recprune/constant/{name}"
        if full not in self.constants:
            self.constants[full] = numpy_helper.from_array(np.ascontiguousarray(value), full)
        return full

    def model(self, inputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        output = helper.make_tensor_value_info("p_click", TensorProto.FLOAT, ["rows"])
        graph = helper.make_graph(self.nodes, "recprune", inputs, [output], list(self.constants.values()))
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="recprune", ir_version=10)
        onnx.checker.check_model(model)
        return model


def _input(feature: Feature) -> onnx.ValueInfoProto:
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "string": TensorProto.STRING}
    return helper.make_tensor_value_info(feature.name, kinds[feature.dtype], ["rows"])


def _vectors_of(line: Line, number: int) -> tuple[int, ...]:
    shape = line.shape
    return (number // shape.embedding,) if number < shape.columns else shape.pair(number)


def _vector(build: _Builder, line: Line, vocabulary: Vocabulary, schema: Schema, vector: int) -> str:
    """Return the name of one vector (N, D)."""
    if line.shape.numeric and vector == 0:
        return _numbers(build, line, schema)
    position = vector - (1 if line.shape.numeric else 0)
    feature = schema.categorical[position]
    start = int(line.offsets()[position])
    table = line.weights["embedding"][start : start + line.sizes[position]].numpy()
    row = _lookup(build, feature, vocabulary)
    return build.node("Gather", [build.constant(f"table/{position}", table), row], axis=0)


def _lookup(build: _Builder, feature: Feature, vocabulary: Vocabulary) -> str:
    known = vocabulary.admitted(feature.name)
    rows = [int(r) for r in known["row"]] or [0]
    if feature.dtype == "int64":
        keys: dict[str, Any] = {"keys_int64s": known["id"].to_list() or [MISSING_INT]}
    else:
        keys = {"keys_strings": known["id"].to_list() or [NO_STRING]}
    return build.node("LabelEncoder", [feature.name], domain="ai.onnx.ml", values_int64s=rows, default_int64=0, **keys)


def _numbers(build: _Builder, line: Line, schema: Schema) -> str:
    """Return the bottom network's output (N, D): see `dlrm.standardize`, float64 up to its last line."""
    axis = build.constant("axis1", np.array([1], np.int64))
    columns = [build.node("Unsqueeze", [f.name, axis]) for f in schema.numeric]
    raw = build.node("Cast", [build.node("Concat", columns, axis=1)], to=TensorProto.DOUBLE)  # (N, Q)
    missing = build.node("IsNaN", [raw])
    zero, one = (build.constant(str(value), np.array(value, np.float64)) for value in (0, 1))
    finite = _clip(build, build.node("Where", [missing, zero, raw]), "largest", LARGEST)
    grown = build.node("Add", [build.node("Abs", [finite]), one])
    squeezed = build.node("Mul", [build.node("Sign", [finite]), build.node("Log", [grown])])
    mean, deviation = (x.numpy() for x in line.scale())
    centred = build.node("Sub", [squeezed, build.constant("mean", mean)])
    z = build.node("Div", [centred, build.constant("deviation", deviation)])
    there = _clip(build, build.node("Where", [missing, zero, z]), "clip", CLIP)
    flags = build.node("Cast", [missing], to=TensorProto.DOUBLE)
    both = build.node("Concat", [there, flags], axis=1)  # (N, 2Q)
    single = build.node("Cast", [both], to=TensorProto.FLOAT)
    return _tower(build, line, "bottom", len(line.shape.bottom), single, 0.0)


def _clip(build: _Builder, x: str, name: str, limit: float) -> str:
    ends = [build.constant(f"{sign}{name}", np.array(float(f"{sign}{limit}"))) for sign in "-+"]
    return build.node("Clip", [x, *ends])


def _inputs(build: _Builder, line: Line, vectors: list[str], place: dict[int, int]) -> str:
    """Return the kept inputs of the first top layer (N, K)."""
    shape = line.shape
    columns = [i for i in shape.inputs if i < shape.columns]
    pairs = [shape.pair(i) for i in shape.inputs if i >= shape.columns]
    parts = []
    if columns:
        flat = build.node("Concat", vectors, axis=1)  # (N, V·D)
        index = np.array([place[i // shape.embedding] * shape.embedding + i % shape.embedding for i in columns])
        whole = len(index) == len(vectors) * shape.embedding
        parts.append(flat if whole else build.node("Gather", [flat, build.constant("columns", index)], axis=1))
    if pairs:
        axis = build.constant("axis1", np.array([1], np.int64))
        stacked = build.node("Concat", [build.node("Unsqueeze", [v, axis]) for v in vectors], axis=1)  # (N, V, D)
        first, second = (np.array([place[pair[side]] for pair in pairs]) for side in (0, 1))
        left = build.node("Gather", [stacked, build.constant("first", first)], axis=1)
        right = build.node("Gather", [stacked, build.constant("second", second)], axis=1)
        product = build.node("Mul", [left, right])
        dots = build.node("ReduceSum", [product, build.constant("axis2", np.array([2], np.int64))], keepdims=0)
        parts.append(dots)
    return parts[0] if len(parts) == 1 else build.node("Concat", parts, axis=1)


def _tower(build: _Builder, line: Line, part: str, hidden: int, x: str, offset: float) -> str:
    for i in range(hidden + 1):
        weight = build.constant(f"{part}.{i}.weight", line.weights[f"{part}.{i}.weight"].numpy())
        bias = line.weights[f"{part}.{i}.bias"].numpy() + np.float32(offset if i == hidden else 0.0)
        x = build.node("Gemm", [x, weight, build.constant(f"{part}.{i}.bias", bias)], transB=1)
        if i < hidden:
            x = build.node("Relu", [x])
    return x
