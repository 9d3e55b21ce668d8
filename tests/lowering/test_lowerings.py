"""Every way of writing a network down gives its probabilities; a request's features enter once or for each row."""

import tempfile
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recprune.data.schema import Feature, ids, many, number
from recprune.lowering.graph import Network, build_graph
from recprune.lowering.inputs import of_request
from recprune.lowering.lowering import Lowering
from recprune.lowering.ranges import input_ranges
from recprune.lowering.session import feed, open_session
from recprune.lowering.table import quantized_rows
from recprune.metrics.scores import logit
from recprune.model.families import FAMILIES
from tests.lowering.served import SMALL, Served, rows_of, served
from tests.lowering.test_families_graph import FEATURES, any_carved, dense

LAYOUTS = [
    Lowering(columns=c, pairs=p)  # type: ignore[arg-type]
    for c, p in product(("picked", "whole"), ("gathered", "square", "whole"))
]
REQUESTS: dict[str, tuple[Feature, ...]] = {
    "mixed": (
        ids("a", per="request"), number("x", "request"), ids("b", "int64"), ids("c", per="request"), number("y"),
        ids("d", "int64"),
    ),
    "numbers of the request": (number("x", "request"), ids("a"), ids("b", "int64", "request"), number("y", "request")),
    "numbers of the rows": (ids("a", per="request"), number("x"), ids("b")),
    "one of each": (ids("a", per="request"), ids("b")),
    "ids of the request": (ids("a", per="request"), ids("b", per="request"), number("x")),
    "last": (ids("b"), ids("c", "int64"), ids("a", per="request")),
    "lists": (
        many("a", most=3, per="request"), ids("b"), many("c", "int64", "sum", most=2), number("x", "request"),
        many("d", "int64", most=1),
    ),
    "lists of the request alone": (many("a", most=3, per="request"), many("b", pooling="sum", per="request"), ids("c")),
}  # fmt: skip


def graph(model: Served, lowering: Lowering | None = None) -> onnx.ModelProto:
    rows = model.raw(rows_of(model.schema, 300, seed=9))
    rounded = lowering is not None and lowering.layers == "int8"
    ranges = None
    if rounded:
        with tempfile.TemporaryDirectory() as folder:
            network = Network(model.line, model.vocabulary, model.schema)
            ranges = input_ranges(network, feed(rows), Path(folder))
    return build_graph(model.line, model.vocabulary, model.schema, model.offset, lowering, ranges)


def opened(model: Served, lowering: Lowering | None = None) -> ort.InferenceSession:
    return open_session(graph(model, lowering).SerializeToString())


def scored(found: ort.InferenceSession, rows: pl.DataFrame, request: tuple[Feature, ...] = ()) -> NDArray[np.float32]:
    return np.asarray(found.run(["p_click"], feed(rows, {f.name for f in request}))[0])


def one_request(model: Served, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with the first one's values of the request's features in all."""
    names = [f.name for f in of_request(model.schema)]
    return rows.with_columns(pl.col(names).first()) if names else rows


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lowering", LAYOUTS, ids=str)
def test_every_layout_is_torch(family: str, lowering: Lowering) -> None:
    @settings(max_examples=12)
    @given(any_carved(family))
    def holds(model: Served) -> None:
        rows = rows_of(model.schema, 30, seed=5)
        assert scored(opened(model, lowering), model.raw(rows)) == pytest.approx(model.expected(rows), abs=1e-5)

    holds()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("features", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("lowering", LAYOUTS, ids=str)
def test_a_request_once_is_the_request_in_every_row(
    family: str, features: tuple[Feature, ...], lowering: Lowering
) -> None:
    model = dense(family, features)
    found, rows = opened(model, lowering), rows_of(model.schema, 50, seed=2)
    together = one_request(model, rows)
    expected, together = model.expected(together), model.raw(together)
    assert scored(found, together, of_request(model.schema)) == pytest.approx(expected, abs=1e-5)
    assert scored(found, together) == pytest.approx(expected, abs=1e-5)
    assert scored(found, model.raw(rows)) == pytest.approx(model.expected(rows), abs=1e-5)
    assert scored(found, together[:1], of_request(model.schema)).shape == (1,)
    assert scored(found, together[:0]).shape == (0,)


@st.composite
def any_request(draw: st.DrawFn, family: str) -> Served:
    model = draw(any_carved(family))
    sides = [draw(st.sampled_from(["row", "request"])) for _ in model.schema.features]
    features = tuple(replace(f, per=side) for f, side in zip(model.schema.features, sides, strict=True))
    schema = replace(model.schema, features=features)
    by_name = {f.name: f for f in features}
    vocabulary = replace(model.vocabulary, features=tuple(by_name[f.name] for f in model.vocabulary.features))
    return replace(model, schema=schema, vocabulary=vocabulary)


@pytest.mark.parametrize("family", FAMILIES)
def test_any_features_of_the_request_carved_any_way(family: str) -> None:
    @settings(max_examples=60)
    @given(any_request(family), st.sampled_from(LAYOUTS))
    def holds(model: Served, lowering: Lowering) -> None:
        rows = rows_of(model.schema, 20, seed=5)
        together, found = one_request(model, rows), opened(model, lowering)
        expected = model.expected(together)
        assert scored(found, model.raw(together), of_request(model.schema)) == pytest.approx(expected, abs=1e-5)
        assert scored(found, model.raw(rows)) == pytest.approx(model.expected(rows), abs=1e-5)

    holds()


def test_where_every_feature_is_of_the_request_each_row_is_one() -> None:
    model = dense("dlrm", (ids("a", per="request"), number("x", "request")))
    assert of_request(model.schema) == ()
    rows = rows_of(model.schema, 20)
    assert scored(opened(model), model.raw(rows)) == pytest.approx(model.expected(rows), abs=1e-5)


def test_the_request_is_looked_up_and_multiplied_once() -> None:
    model = dense("dlrm", REQUESTS["mixed"])
    kinds = Counter(node.op_type for node in graph(model, Lowering()).graph.node)
    assert kinds["Gemm"] == len(model.line.shape.layers()) + 3  # top.0 reads columns and pairs of both sides
    shapes = {i.name: i.type.tensor_type.shape.dim[0].dim_param for i in graph(model).graph.input}
    assert shapes == {"a": "requests", "x": "requests", "b": "rows", "c": "requests", "y": "rows", "d": "rows"}


def small_weights(model: Served) -> Served:
    """Return the model with last layers that keep p off 0 and 1, and far enough apart for an error to show."""
    line, rows = model.line, rows_of(model.schema, 300, seed=9)
    spread = float(np.std(logit(model.expected(rows))))
    for name in (f"top.{len(line.shape.top)}", "wide"):
        for kind in ("weight", "bias"):
            if f"{name}.{kind}" in line.weights:
                line.weights[f"{name}.{kind}"] = line.weights[f"{name}.{kind}"] / spread
    assert np.ptp(model.expected(rows)) > 0.3
    return model


def error(p: NDArray[np.float32], model: Served, rows: pl.DataFrame) -> float:
    """Return the root of the mean squared difference from torch."""
    return float(np.sqrt(np.mean((p - model.expected(rows)) ** 2)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("features", [FEATURES, REQUESTS["mixed"]], ids=["rows", "request"])
@pytest.mark.parametrize("layers", ["fp32", "int8", "dynamic_int8"])
@pytest.mark.parametrize("table", ["fp32", "uint8"])
def test_eight_bits_keep_the_probabilities_near(
    family: str, features: tuple[Feature, ...], layers: str, table: str
) -> None:
    model = small_weights(dense(family, features, embedding=16))
    lowering, rows = Lowering(layers=layers, rows=table), rows_of(model.schema, 200, seed=4)  # type: ignore[arg-type]
    p = scored(opened(model, lowering), model.raw(rows))
    assert p == pytest.approx(model.expected(rows), abs=1e-6 if lowering.exact else 0.15)  # rows that ranges cut off
    assert error(p, model, rows) <= 0.03
    if layers == "int8":
        one = [scored(opened(model, lowering), model.raw(rows[i])).item() for i in range(5)]
        assert one == pytest.approx(p[:5].tolist(), abs=1e-6)  # a row's probability depends on the row alone


@pytest.mark.parametrize("features", [(ids("a"), ids("b"), ids("c")), *REQUESTS.values()], ids=["ids", *REQUESTS])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("layers", ["fp32", "int8", "dynamic_int8"])
def test_onnx_runtime_takes_every_way_in_eight_bits(
    features: tuple[Feature, ...], layout: Lowering, layers: str
) -> None:
    model = small_weights(dense("dlrm", features, embedding=4))
    lowering = replace(layout, layers=layers, rows="uint8")  # type: ignore[arg-type]
    rows = rows_of(model.schema, 30, seed=4)
    found = opened(model, lowering)
    assert error(scored(found, model.raw(rows)), model, rows) <= 0.03
    together = model.raw(one_request(model, rows))
    assert scored(found, together, of_request(model.schema)).shape == (30,)


@pytest.mark.parametrize("features", [FEATURES, REQUESTS["mixed"]], ids=["rows", "request"])
def test_onnx_runtime_computes_every_layer_but_the_last_in_integers(
    features: tuple[Feature, ...], tmp_path: Path
) -> None:
    model = small_weights(dense("dlrm", features, embedding=16))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = f"{tmp_path}/optimized.onnx"
    ort.InferenceSession(
        graph(model, Lowering(layers="int8")).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds = Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
    parts = 3 if of_request(model.schema) else 1  # of top.0 beyond the first
    assert kinds["QGemm"] == len(model.line.shape.layers()) - 1 + parts
    assert kinds["Gemm"] + kinds["FusedGemm"] == 1


def test_eight_bits_make_the_file_small() -> None:
    model = served(FEATURES, model=replace(SMALL, embedding=64, bottom=(64,), top=(256, 128)))
    table, layers = (
        sum(w.numel() for n, w in model.line.weights.items() if ("embedding" in n) == want and w.dim() == 2)
        for want in (True, False)
    )
    plain = len(graph(model).SerializeToString())
    assert plain - len(graph(model, Lowering(rows="uint8")).SerializeToString()) > 2.8 * table
    assert plain - len(graph(model, Lowering(layers="int8")).SerializeToString()) > 2 * layers


def test_rows_are_rounded_by_half_a_step_of_their_feature() -> None:
    table = np.array([[0.0, 1.0], [2.0, -0.5], [0.0, 0.0], [-3.0, -1.0]], np.float32)
    whole, scales, zeros = quantized_rows(table, (2, 0, 1, 1))
    assert scales.tolist() == pytest.approx([2 ** (-47 / 8), 1, 1, 2 ** (-43 / 8)])
    assert scales[0] >= 2 / 127 > scales[0] / 2 ** (1 / 8)
    assert zeros.tolist() == [127] * 4
    back = (whole.astype(float) - 127) * scales[[0, 0, 2, 3], None]
    assert back == pytest.approx(table, abs=float(scales[3]) / 2 + 1e-9)
    assert whole[2].tolist() == [127, 127]


def test_a_row_keeps_its_bytes_while_its_features_largest_value_moves_a_little() -> None:
    table = np.array([[0.5, -0.25], [1.0, 0.1]], np.float32)
    grown = np.array([[0.5, -0.25], [1.05, 0.1]], np.float32)
    first, second = (quantized_rows(rows, (2,)) for rows in (table, grown))
    assert first[1].tolist() == second[1].tolist()
    assert first[0][0].tolist() == second[0][0].tolist()


@pytest.mark.parametrize("layout", LAYOUTS[:3], ids=str)
def test_a_list_in_eight_bits_has_its_own_features_scale(layout: Lowering) -> None:
    model = small_weights(dense("dlrm", (ids("a"), many("b", most=2), many("c", "int64", "sum", most=2))))
    start = model.line.sizes[0]
    model.line.weights["embedding"][:start] *= 0.01  # another feature's scale would be a hundred times off
    rows = rows_of(model.schema, 50, seed=4)
    p = scored(opened(model, replace(layout, rows="uint8")), model.raw(rows))
    assert error(p, model, rows) <= 0.02
