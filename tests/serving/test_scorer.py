import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recprune.data.schema import MISSING_INT, ids, number
from recprune.errors import DamagedArtefactError, SettingsError
from recprune.files import artefact
from recprune.lowering.graph import build_graph
from recprune.lowering.inputs import describe_inputs
from recprune.serving.scorer import Scorer
from tests.lowering.served import Served, rows_of, served

BUNDLE = Path("bundles/2024-01-05")
MODEL = served((ids("user", "int64"), ids("item"), number("price")))

pytestmark = pytest.mark.usefixtures("workspace")


def bundle(model: Served = MODEL) -> Scorer:
    with artefact(BUNDLE, "bundle", "2024-01-05", describe_inputs(model.schema)) as folder:
        onnx.save(build_graph(model.line, model.vocabulary, model.schema, model.offset), folder / "model.onnx")
    return Scorer(BUNDLE)


def columns(rows: pl.DataFrame) -> dict[str, NDArray[Any]]:
    return {name: rows[name].to_numpy() for name in ("user", "item", "price")}


GOOD = {"user": [7, 14], "item": ["id 1", "id 2"], "price": [2.5, 3.5]}


@pytest.mark.parametrize("rows", [100, 1, 0])
def test_scores_are_torchs(rows: int) -> None:
    events = rows_of(MODEL.schema, rows, seed=5)
    p = bundle().score(columns(events))
    assert p.dtype == np.float32
    assert p.tolist() == pytest.approx(MODEL.expected(events).tolist(), abs=1e-6)


REQUEST = served((ids("user", "int64", "request"), ids("item"), number("price"), number("hour", "request")))


def test_a_request_may_come_once() -> None:
    scorer = bundle(REQUEST)
    assert scorer.request_inputs == {"user", "hour"}
    rows = {"item": ["id 1", "id 2", "x"], "price": [2.5, 3.5, 4.5]}
    plain = scorer.score({**rows, "user": [7] * 3, "hour": [9.0] * 3})
    once = {"user": [7], "hour": [9.0]}
    assert scorer.score({**rows, **once}).tolist() == pytest.approx(plain.tolist(), abs=1e-6)
    assert scorer.score({**rows, "user": 7, "hour": 9.0}).tolist() == pytest.approx(plain.tolist(), abs=1e-6)
    assert scorer.score({**rows, "user": [7], "hour": [9.0] * 3}).tolist() == pytest.approx(plain.tolist(), abs=1e-6)
    assert scorer.score({"item": [], "price": [], **once}).shape == (0,)
    told = (
        "the inputs' shapes are user (2,), item (3,), price (3,), hour (1,); each must be (N,), one value per row (or "
        "a single one, of the inputs that are one per request)."
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        scorer.score({**rows, "user": [7, 7], "hour": 9.0})
    with pytest.raises(SettingsError, match="the inputs' shapes are"):
        scorer.score({"user": [7] * 3, "hour": 9.0, "item": ["id 1"], "price": [2.5] * 3})


def test_a_model_that_takes_plain_rows_serves_a_request_too() -> None:
    plain = served((ids("user", "int64"), ids("item"), number("price"), number("hour")))
    about = describe_inputs(REQUEST.schema)
    with artefact(BUNDLE, "bundle", "2024-01-05", about) as folder:
        onnx.save(build_graph(plain.line, plain.vocabulary, plain.schema, plain.offset), folder / "model.onnx")
    rows = {"item": ["id 1", "id 2"], "price": [2.5, 3.5]}
    found = Scorer(BUNDLE).score({**rows, "user": 7, "hour": 9.0})
    assert found.tolist() == bundle(plain).score({**rows, "user": [7, 7], "hour": [9.0, 9.0]}).tolist()


def test_where_every_input_is_one_per_request_each_row_is_one() -> None:
    scorer = bundle(served((ids("user", "int64", "request"),)))
    assert scorer.request_inputs == set()
    assert scorer.score({"user": [7, 14, 7]}).shape == (3,)


def test_plain_lists_are_enough() -> None:
    scorer = bundle()
    events = pl.DataFrame(GOOD, schema_overrides={"price": pl.Float32})
    listed, arrays = scorer.score(GOOD), scorer.score(columns(events))
    assert listed.tolist() == arrays.tolist()
    assert scorer.score({"user": [], "item": [], "price": []}).shape == (0,)


def test_other_widths_of_numbers_are_the_same_values() -> None:
    scorer = bundle()
    narrow = {"user": np.array([7, 14], np.int16), "item": np.array(["id 1", "id 2"]), "price": np.array([2.5, 3.5])}
    assert scorer.score(narrow).tolist() == scorer.score(GOOD).tolist()


def test_columns_that_the_model_does_not_know_are_left_aside() -> None:
    scorer = bundle()
    assert scorer.score({**GOOD, "weather": ["rain", "sun"]}).tolist() == scorer.score(GOOD).tolist()


def test_missing_and_unknown_values_are_scored() -> None:
    found = bundle().score({"user": [MISSING_INT, -5], "item": ["", "never seen"], "price": [np.nan, np.inf]})
    assert np.isfinite(found).all()


def test_missing_inputs_are_named() -> None:
    scorer = bundle()
    told = "inputs user, price are missing; the model's manifest lists all inputs."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        scorer.score({"item": ["id 1"]})


@pytest.mark.parametrize(("values", "dtype"), [([7.0, 14.5], "float64"), (["7", "14"], "<U2"), ([7, None], "object")])
def test_ids_are_never_rounded_to_fit(values: list[object], dtype: str) -> None:
    scorer = bundle()
    told = f"input user is {dtype}; the model takes int64 ids (missing: -2**63)."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        scorer.score({**GOOD, "user": values})


@pytest.mark.parametrize(("item", "shape"), [(["id 1"], "(1,)"), ("id 1", "()"), ([["id 1"], ["id 2"]], "(2, 1)")])
def test_inputs_are_one_value_per_row(item: object, shape: str) -> None:
    scorer = bundle()
    told = f"the inputs' shapes are user (2,), item {shape}, price (2,); each must be (N,), one value per row."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        scorer.score({**GOOD, "item": item})


def test_a_bundle_that_was_changed_is_not_served() -> None:
    bundle()
    (BUNDLE / "model.onnx").write_bytes(b"something else")
    told = (
        f"{BUNDLE}/model.onnx was changed since the manifest was written; bring the stored one back with: "
        "recprune fetch 2024-01-05 (or run that day, if it was never stored)"
    )
    with pytest.raises(DamagedArtefactError, match=f"^{re.escape(told)}$"):
        Scorer(BUNDLE)


def test_serving_needs_numpy_and_onnx_runtime_only() -> None:
    """What a user deploys must not pull in what trains."""
    probe = "import sys, recprune.serving.champion, recprune.serving.verify; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert {"numpy", "onnxruntime"} <= loaded
    heavy = {
        "torch",
        "pandas",
        "polars",
        "pyarrow",
        "onnx",
        "dvc",
        "great_expectations",
        "safetensors",
        "typer",
        "yaml",
    }
    assert not heavy & loaded
    ours = {name for name in done.stdout.split() if name.startswith("recprune.")}
    assert ours == {
        "recprune.errors", "recprune.files", "recprune.serving", "recprune.serving.scorer", "recprune.serving.latency",
        "recprune.serving.values",
        "recprune.serving.model_file", "recprune.serving.protobuf", "recprune.serving.champion",
        "recprune.serving.verify", "recprune.serving.sample", "recprune.serving.signature",
        "recprune.serving.external",
    }  # fmt: skip


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_are_taken_as_they_are(library: str) -> None:
    scorer, rows = bundle(), {**GOOD, "item": ["id 1", None], "more": [1, 2]}
    table = pd.DataFrame(rows) if library == "pandas" else pl.DataFrame(rows)
    assert scorer.score(table).tolist() == scorer.score({**GOOD, "item": ["id 1", ""]}).tolist()


@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan"), pd.NA, ""])
def test_a_missing_string_is_no_id_of_that_name(missing: object) -> None:
    scorer = bundle(served((ids("item"),), learned=400))  # knows the ids "None" and ""
    none, empty = scorer.score({"item": ["None", ""]}).tolist()
    assert none != empty
    assert scorer.score({"item": ["None", missing]}).tolist() == [none, empty]


def test_a_name_that_is_nearly_right_is_told() -> None:
    scorer = bundle()
    told = "inputs user (is it User?), price are missing; the model's manifest lists all inputs."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        scorer.score({"User": [1], "item": ["id 1"]})


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("item", [7, 8], "input item holds int; the model takes strings"),
        ("item", ["a", 2.5], "input item holds float; the model takes strings"),
        ("item", [b"a", "b"], "input item holds bytes; the model takes strings"),
        ("item", ["a", pd.NaT], "input item holds NaTType; the model takes strings"),
        ("item", ["a", np.zeros(2)], "input item holds ndarray; the model takes strings"),
        ("price", ["1.5", "2"], "input price is <U3; the model takes numbers (missing: NaN)."),
        ("price", [None, 2.0], "input price is object; the model takes numbers (missing: NaN)."),
        ("price", np.array(["2024-01-01"] * 2, "M8[D]"), "input price is datetime64[D]; the model takes numbers"),
        ("price", [1j, 2], "input price is complex128; the model takes numbers"),
        ("user", np.array([2**63, 1], np.uint64), "input user holds 9223372036854775808, which is no int64"),
    ],
)
def test_values_of_another_kind_are_refused(name: str, values: Any, told: str) -> None:
    scorer = bundle()
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}"):
        scorer.score({**GOOD, name: values})


@pytest.mark.parametrize("columns", [[1, 2], None, 3, pl.LazyFrame(GOOD), pa.table(GOOD), np.zeros(3)], ids=type)
def test_what_has_no_values_by_name_is_refused(columns: Any) -> None:
    told = f"the columns are a {type(columns).__name__}; give values by name, or a DataFrame of pandas or Polars."
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        bundle().score(columns)


def test_masked_values_and_half_characters_are_refused() -> None:
    scorer = bundle()
    with pytest.raises(SettingsError, match=r"^input price is a masked array; fill it with the missing value first\.$"):
        scorer.score({**GOOD, "price": np.ma.masked_array([1.0, 2.0], mask=[True, False])})
    with pytest.raises(SettingsError, match=r"^a string id cannot be written in UTF-8: "):
        scorer.score({**GOOD, "item": ["\ud800", "a"]})


def test_booleans_are_numbers_and_ids() -> None:
    scorer = bundle()
    found = scorer.score({**GOOD, "user": [True, False], "price": [False, True]})
    assert found.tolist() == scorer.score({**GOOD, "user": [1, 0], "price": [0.0, 1.0]}).tolist()


def test_every_nan_is_a_missing_number() -> None:
    """NumPy warns of casts of those that signal, and warnings are errors here."""
    scorer, odd = bundle(), np.array([0x7FF0000000000001, 0xFFF0000000000001], np.uint64).view(np.float64)
    found = scorer.score({**GOOD, "price": odd})
    assert found.tolist() == scorer.score({**GOOD, "price": [np.nan, np.nan]}).tolist()


def test_many_threads_score_at_once() -> None:
    scorer, events = bundle(), columns(rows_of(MODEL.schema, 64, seed=3))
    expected = scorer.score(events).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: scorer.score(events).tolist(), range(200)))
    assert all(each == expected for each in found)


def test_what_onnx_runtime_cannot_load_is_told() -> None:
    bundle()
    model = onnx.load(BUNDLE / "model.onnx")
    model.ir_version = 10**6
    with artefact(BUNDLE, "bundle", "2024-01-05", describe_inputs(MODEL.schema)) as folder:
        onnx.save(model, folder / "model.onnx")
    told = r"^bundles/2024-01-05/model.onnx: ONNX Runtime .* cannot load it \((.|\n)*\); it was made with another"
    with pytest.raises(DamagedArtefactError, match=told):
        Scorer(BUNDLE)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.binary(max_size=2),
    st.just(pd.NA), st.just(pd.NaT), st.complex_numbers(), st.dates(),
)  # fmt: skip
COLUMN = st.one_of(st.lists(SCALARS, max_size=3), SCALARS, st.lists(st.lists(SCALARS, max_size=2), max_size=2))
SHARED: dict[str, Scorer] = {}


@settings(max_examples=500)
@given(st.dictionaries(st.sampled_from(["user", "item", "price", "more"]), COLUMN))
def test_any_values_are_scored_or_refused(rows: dict[str, Any]) -> None:
    scorer = SHARED.setdefault("one", bundle())
    try:
        found = scorer.score(rows)
    except SettingsError:
        return
    assert {"user", "item", "price"} <= rows.keys()
    assert found.shape == (len(rows["user"]),)
    assert np.isfinite(found).all()
    clean = {
        "user": np.array([int(v) for v in rows["user"]], np.int64),
        "item": ["" if v is None or v is pd.NA or v != v else v for v in rows["item"]],
        "price": np.array(rows["price"], np.float64).astype(np.float32),
    }
    assert found.tolist() == scorer.score(clean).tolist()
