"""The served network as an ONNX graph: raw feature values in, `p_click` out.

Built node by node, not traced: look-ups (`ai.onnx.ml.LabelEncoder`), numeric transforms, network and
calibration are all in the file, so that serving cannot differ from training.

Legend: N rows of a request, F features read, Q numbers, D embedding width.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from recprune.data.schema import MISSING_INT, Feature, Schema
from recprune.data.vocabulary import Vocabulary
from recprune.lowering.builder import Builder
from recprune.lowering.families import LOGITS, tower
from recprune.lowering.interaction import stack
from recprune.model.line import Line
from recprune.model.network import CLIP, LARGEST

NO_STRING = "\x00recprune: no id"
"""Key of a look-up table that has no ids yet."""


def build_graph(line: Line, vocabulary: Vocabulary, schema: Schema, offset: float) -> onnx.ModelProto:
    """Return the network as a checked ONNX model.

    A feature that is not read is an input all the same, so that whoever calls need not know what was pruned.

    Args:
        line: the served line; its rows follow the vocabulary.
        vocabulary: ids to rows.
        schema: names and types of the inputs, each of shape [N].
        offset: calibration, added to the logit.
    """
    build, shape = Builder(), line.shape
    numbers = None
    if shape.numeric and 0 in shape.reading.vectors:
        standardized = standardize(build, line, schema)
        numbers = tower(build, line, "bottom", standardized)
    vectors = stack(build, line, look_up(build, line, vocabulary), numbers)
    logit = LOGITS[shape.family](build, line, vectors, offset)
    build.node("Sigmoid", [build.reshape(logit, -1)], output="p_click")
    return build.model([graph_input(f) for f in schema.features])


def graph_input(feature: Feature) -> onnx.ValueInfoProto:
    """Return a feature as an input of the graph (N,)."""
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "string": TensorProto.STRING}
    return helper.make_tensor_value_info(feature.name, kinds[feature.dtype], ["rows"])


def look_up(build: Builder, line: Line, vocabulary: Vocabulary) -> str | None:
    """Return the table rows of the features that are read (F, N); None if there are none.

    The table of all features is one: a look-up gives the row within it at once.
    """
    read, offsets = line.shape.reading.features.tolist(), line.offsets().tolist()
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


def standardize(build: Builder, line: Line, schema: Schema) -> str:
    """Return the numbers as the bottom tower reads them (N, 2Q): see `network.standardize`, float64 to the end."""
    names = [f.name for f in schema.numeric]
    joined = names[0] if len(names) == 1 else build.node("Concat", names, axis=0)
    raw = build.node("Cast", [build.reshape(joined, len(names), -1)], to=TensorProto.DOUBLE)  # (Q, N)
    zero, one = (build.constant(str(value), np.array(value, np.float64)) for value in (0, 1))
    finite = _clip(build, raw, "largest", LARGEST)
    grown = build.node("Add", [build.node("Abs", [finite]), one])
    squeezed = build.node("Mul", [build.node("Sign", [finite]), build.node("Log", [grown])])
    mean, deviation = (x.numpy()[:, None] for x in line.scale())
    centred = build.node("Sub", [squeezed, build.constant("mean", mean)])
    z = build.node("Div", [centred, build.constant("deviation", deviation)])
    missing = build.node("IsNaN", [raw])
    there = _clip(build, build.node("Where", [missing, zero, z]), "clip", CLIP)
    both = build.node("Concat", [there, build.node("Cast", [missing], to=TensorProto.DOUBLE)], axis=0)  # (2Q, N)
    return build.node("Cast", [build.node("Transpose", [both], perm=[1, 0])], to=TensorProto.FLOAT)


def _clip(build: Builder, x: str, name: str, limit: float) -> str:
    ends = [build.constant(f"{sign}{name}", np.array(float(f"{sign}{limit}"))) for sign in "-+"]
    return build.node("Clip", [x, *ends])
