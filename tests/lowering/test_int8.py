from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from recprune.data.schema import Feature, ids, number
from recprune.lowering.graph import build_graph
from recprune.lowering.int8 import quantize
from recprune.lowering.parity import largest_difference
from tests.lowering.served import SMALL, rows_of, served

LARGE = replace(SMALL, embedding=8, bottom=(32,), top=(256, 128))


@pytest.mark.parametrize(
    "features",
    [(ids("a"), ids("b", "int64"), number("x")), (ids("a"),), (number("x"),)],
    ids=["both", "ids", "numbers"],
)
def test_every_layer_becomes_integers_and_stays_near(features: tuple[Feature, ...], tmp_path: Path) -> None:
    model = served(features, model=LARGE)
    for name, tensor in model.line.weights.items():  # as wide as trained ones, so that p lies off 0 and 1
        model.line.weights[name] = tensor * (1 if name == "embedding" else 2 / max(tensor.shape[-1], 4) ** 0.5)
    source, target = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    onnx.save(build_graph(model.line, model.vocabulary, model.schema, model.offset), source)
    quantize(source, target)
    kinds = [node.op_type for node in onnx.load(target).graph.node]
    assert kinds.count("MatMulInteger") == len(model.line.shape.layers())
    assert not {"Gemm", "MatMul"} & set(kinds)
    assert target.stat().st_size < 0.5 * source.stat().st_size
    rows = rows_of(model.schema, 500, seed=1)
    expected = model.expected(rows)
    assert np.std(expected) > 0.01
    assert 0 < largest_difference(target, model.raw(rows), expected) < 0.05
    assert source.exists()


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    model = served((ids("a"), number("x")))
    source = tmp_path / "fp32.onnx"
    onnx.save(build_graph(model.line, model.vocabulary, model.schema, 0.0), source)
    for name in "ab":
        quantize(source, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
