from dataclasses import replace

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recprune.data.schema import MISSING_INT, Feature, ids, many, number
from recprune.lowering.graph import build_graph
from recprune.lowering.session import feed
from recprune.model.shape import dense_shape
from tests.lowering.served import SMALL, Served, rows_of, served

BOTH = (ids("a"), ids("b", "int64"), number("x"), number("y"))
KINDS = {
    "both": BOTH,
    "only ids": (ids("a"), ids("b", "int64")),
    "only numbers": (number("x"), number("y")),
    "one string": (ids("a"),),
    "one int64": (ids("b", "int64"),),
    "one number": (number("x"),),
    "one list": (many("a", most=3),),
    "lists": (many("a", "int64", "sum", most=4), many("b", most=2)),
    "lists between ids": (
        ids("a"),
        many("b", most=3),
        number("x"),
        ids("c", "int64"),
        many("d", "int64", "sum", most=2),
    ),
    "numbers between ids": (number("x"), ids("a"), number("y"), ids("b", "int64")),
}


ANY = (
    number("f"), ids("f"), ids("f", "int64"), many("f", most=3), many("f", "int64", "sum", most=2),
    many("f", "int64", most=1),
)  # fmt: skip


def session(model: Served) -> ort.InferenceSession:
    graph = build_graph(model.line, model.vocabulary, model.schema, model.offset)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(found: ort.InferenceSession, raw: pl.DataFrame) -> NDArray[np.float32]:
    (p,) = found.run(["p_click"], feed(raw))
    return np.asarray(p)


def difference(model: Served, rows: pl.DataFrame) -> float:
    p = run(session(model), model.raw(rows))
    assert p.dtype == np.float32
    assert p.shape == (len(rows),)
    return float(np.max(np.abs(p - model.expected(rows)))) if len(rows) else 0.0


@pytest.mark.parametrize("features", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("rows", [300, 1, 0])
def test_the_graph_is_torch(features: tuple[Feature, ...], rows: int) -> None:
    model = served(features)
    assert difference(model, rows_of(model.schema, rows, seed=1)) <= 1e-6


@st.composite
def models(draw: st.DrawFn) -> Served:
    features = draw(st.lists(st.sampled_from(ANY), min_size=1, max_size=5))
    features = [replace(feature, name=f"f{i}") for i, feature in enumerate(features)]
    model = replace(
        SMALL,
        embedding=draw(st.integers(1, 4)),
        bottom=tuple(draw(st.lists(st.integers(1, 5), max_size=2))),
        top=tuple(draw(st.lists(st.integers(1, 5), max_size=2))),
    )
    whole = served(features, model=model, learned=draw(st.sampled_from([0, 1, 60])), seed=draw(st.integers(0, 20)))
    kept = draw(st.sets(st.sampled_from(dense_shape(whole.schema, model).inputs), min_size=1))
    return served(features, model=model, learned=60, inputs=sorted(kept), seed=draw(st.integers(0, 20)))


@settings(max_examples=60)
@given(models(), st.integers(0, 99))
def test_any_schema_carved_any_way(model: Served, seed: int) -> None:
    assert difference(model, rows_of(model.schema, 40, seed)) <= 1e-5


def test_a_single_row_is_the_row_in_a_batch() -> None:
    model = served(BOTH)
    rows, found = rows_of(model.schema, 20, seed=2), session(model)
    one = [run(found, model.raw(rows[i])).item() for i in range(20)]
    assert one == pytest.approx(run(found, model.raw(rows)).tolist(), abs=1e-6)


@pytest.mark.parametrize("features", KINDS.values(), ids=KINDS)
def test_an_empty_vocabulary_knows_the_unknown_row_only(features: tuple[Feature, ...]) -> None:
    model = served(features, learned=0)
    assert set(model.line.sizes) <= {1}
    assert difference(model, rows_of(model.schema, 50, seed=1)) <= 1e-6


def test_missing_ids_are_ids_of_their_own_and_unknown_ones_share_a_row() -> None:
    model = served((ids("a"), ids("b", "int64")), learned=400)
    raw = pl.DataFrame({"a": ["", "x!", "y!", "id 1"], "b": [7, 7, 7, 7]}, schema={"a": pl.String, "b": pl.Int64})
    missing, first, second, known = run(session(model), raw).tolist()
    assert first == second
    assert len({missing, first, known}) == 3
    numbers = raw.with_columns(b=pl.Series([MISSING_INT, -3, -4, 7]), a=pl.lit("id 1"))
    missing, first, second, known = run(session(model), numbers).tolist()
    assert first == second
    assert len({missing, first, known}) == 3


def test_letters_that_look_alike_are_two_ids() -> None:
    model = served((ids("a"),), learned=400)
    known = model.vocabulary.admitted("a")["id"].to_list()
    assert {"é", "e\u0301"} <= set(known)
    raw = pl.DataFrame({"a": ["é", "e\u0301"]})
    assert len(set(run(session(model), raw).tolist())) == 2


@pytest.mark.parametrize("feature", [0, 1, 2], ids=["string", "int64", "number"])
def test_a_feature_that_carving_left_unused_may_still_be_given(feature: int) -> None:
    features = (ids("a"), ids("b", "int64"), number("x"))
    vector = {"a": 1, "b": 2, "x": 0}[features[feature].name]
    whole = served(features).line.shape
    inputs = [i for i in whole.inputs if i < whole.columns and i // whole.embedding != vector]
    model = served(features, inputs=inputs)
    found = session(model)
    assert [i.name for i in found.get_inputs()] == ["a", "b", "x"]
    assert difference(model, rows_of(model.schema, 30, seed=4)) <= 1e-6


def test_pairs_without_columns() -> None:
    shape = served(BOTH).line.shape
    model = served(BOTH, inputs=range(shape.columns, shape.all_inputs))
    assert difference(model, rows_of(model.schema, 30, seed=4)) <= 1e-6


@pytest.mark.parametrize("name", [
    "cat", "0", "a b", " ", "é", "日本", "a/b", "a\nb", '"', "n", "p", "x:y", "Gather", "input", "rows", "recprune",
])  # fmt: skip
def test_odd_names_load_in_onnx_runtime(name: str) -> None:
    for features in ((ids(name), number("other")), (ids("other"), number(name)), (ids(name, "int64"),)):
        model = served(features)
        assert difference(model, rows_of(model.schema, 10, seed=1)) <= 1e-6


@pytest.mark.parametrize(("center", "spread"), [(0.0, 1e-5), (1e9, 1e4), (-3e5, 30.0), (1e30, 1e29)])
def test_numbers_that_vary_little_keep_parity(center: float, spread: float) -> None:
    model = served((ids("a"), number("x")))
    values = center + np.random.default_rng(0).uniform(-spread, spread, 200)
    rows = rows_of(model.schema, 200).with_columns(x=pl.Series(values, dtype=pl.Float32))
    from recprune.data.features import encode
    from recprune.model.line import learn_scale

    model.line.numbers = {name: tensor * 0 for name, tensor in model.line.numbers.items()}
    learn_scale(model.line, encode(rows, model.schema, model.vocabulary).numbers)
    z = model.line.standardize(model.line.weights["embedding"].new_tensor(values[:, None]))[:, 0]
    assert 0.5 < float(z.std()) < 2  # the network sees the spread
    assert difference(model, rows) <= 1e-6


def test_the_calibration_is_in_the_graph() -> None:
    model = served(BOTH)
    rows = rows_of(model.schema, 20, seed=3)
    shifted = replace(model, offset=model.offset + 1)
    p, q = (run(session(m), m.raw(rows)).astype(np.float64) for m in (model, shifted))
    assert np.log(q / (1 - q)) - np.log(p / (1 - p)) == pytest.approx(1, abs=1e-3)


def test_the_same_line_gives_the_same_bytes() -> None:
    first, second = (served(BOTH) for _ in range(2))
    graphs = [build_graph(m.line, m.vocabulary, m.schema, m.offset) for m in (first, second)]
    assert graphs[0].SerializeToString(deterministic=True) == graphs[1].SerializeToString(deterministic=True)


def test_the_line_is_not_changed() -> None:
    model, other = served(BOTH), served(BOTH)
    session(model)
    bias = "top.2.bias"
    assert model.line.weights[bias].tolist() == other.line.weights[bias].tolist()
