import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from numpy.typing import NDArray

from recprune.data.schema import MISSING_INT, ids, number
from recprune.errors import DamagedArtefactError, SettingsError
from recprune.files import artefact
from recprune.lowering.graph import build_graph
from recprune.serving.scorer import Scorer
from recprune.steps.export import describe_inputs
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
    probe = "import sys, recprune.serving.scorer, recprune.serving.latency; print(*sorted(sys.modules))"
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
        "recprune.serving.model_file", "recprune.serving.protobuf",
    }  # fmt: skip
