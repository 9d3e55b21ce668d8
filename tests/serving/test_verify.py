import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from recprune.data.schema import ids, number
from recprune.files import artefact, write_json
from recprune.lowering.graph import build_graph
from recprune.serving.sample import write_sample
from recprune.serving.scorer import Scorer
from recprune.serving.verify import Check, verify
from recprune.steps.export import describe_inputs
from tests.lowering.served import rows_of, served

MODEL = served((ids("user", "int64"), ids("item"), number("price")))
ROWS = rows_of(MODEL.schema, 20, seed=2).select("user", "item", "price")
COLUMNS = {name: ROWS[name].to_numpy() for name in ROWS.columns}
PLACE = Path("bundles/2024-01-05")
ABOUT: dict[str, Any] = {
    "parity": {"fp32": 1e-7, "rows": 20},
    "environment": {"cpu": "x86_64-avx2", "libraries": {"onnxruntime": "1.0.0"}},
}

pytestmark = pytest.mark.usefixtures("workspace")


def bundle(shift: float = 0.0, rows: int = 20, **about: Any) -> Path:
    with artefact(PLACE, "bundle", "2024-01-05", describe_inputs(MODEL.schema) | ABOUT | about) as folder:
        onnx.save(build_graph(MODEL.line, MODEL.vocabulary, MODEL.schema, 0.25), folder / "model.onnx")
        p = MODEL.expected(rows_of(MODEL.schema, 20, seed=2)).astype(np.float32) + np.float32(shift)
        write_sample(folder, {name: values[:rows] for name, values in COLUMNS.items()}, p[:rows])
    return PLACE


def checks(*arguments: Any) -> dict[str, Check]:
    return {check.name: check for check in verify(PLACE, *arguments)}


def verdicts(*arguments: Any) -> dict[str, str]:
    return {name: check.verdict for name, check in checks(*arguments).items()}


GOOD = {"signature": "told", "digests": "passed", "model": "passed", "inputs": "passed", "parity": "passed",
        "latency": "told", "versions": "told"}  # fmt: skip


def test_a_good_bundle_passes_every_check() -> None:
    bundle()
    found = checks(None, None)
    assert verdicts(None, None) == GOOD
    assert found["digests"].text == "all 2 files are as the manifest says"
    assert found["versions"].text.startswith("made on x86_64-avx2 with ONNX Runtime 1.0.0; here: ")
    assert found["latency"].value.keys() == {"1", "128"}


def test_a_changed_file_ends_it() -> None:
    bundle()
    (PLACE / "sample.json").write_text("{}")
    found = checks(None, None)
    assert found.keys() == {"signature", "digests"}
    assert found["digests"].text.startswith(f"{PLACE}/sample.json was changed since the manifest was written")


def test_a_model_that_recprune_would_not_write_ends_it() -> None:
    bundle()
    model = onnx.load(PLACE / "model.onnx")
    model.graph.node[0].op_type = "Loop"
    with artefact(PLACE, "bundle", "2024-01-05", describe_inputs(MODEL.schema) | ABOUT) as folder:
        onnx.save(model, folder / "model.onnx")
    assert verdicts(None, None) == {"signature": "told", "digests": "passed", "model": "failed"}


def test_other_probabilities_fail_parity() -> None:
    bundle(shift=2e-5)
    assert verdicts(None, None) == GOOD | {"parity": "failed"}
    bundle(shift=5e-6)
    assert verdicts(None, None) == GOOD
    small = {"fp32": 1e-7, "int8": 1e-3, "rows": 20}
    bundle(shift=2e-5, parity=small)
    assert verdicts(None, None) == GOOD | {"parity": "failed"}, "not of an fp32 model"
    bundle(shift=2e-5, parity=small, precision="int8")
    assert verdicts(None, None) == GOOD, "int8 is rounded otherwise on another CPU"


def test_a_nan_is_no_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle()
    monkeypatch.setattr(Scorer, "score", lambda _self, columns: np.full(len(columns["user"]), np.nan, np.float32))
    assert verdicts(None, None)["parity"] == "failed"


def test_a_manifest_with_other_inputs_than_the_model_fails() -> None:
    about = describe_inputs(MODEL.schema)
    about["inputs"][2] = about["inputs"][2] | {"name": "cost"}
    bundle(inputs=about["inputs"])
    found = checks(None, None)
    assert (found["inputs"].verdict, found["inputs"].value) == ("failed", ["cost", "price"])
    assert found.keys() == GOOD.keys() - {"parity", "versions", "latency"}


def test_before_the_first_day_there_are_no_rows() -> None:
    told = {name: verdict for name, verdict in GOOD.items() if name != "latency"}
    bundle(rows=0, parity={"fp32": 0.0, "rows": 0})
    assert verdicts(None, None) == told | {"parity": "told"}
    bundle(rows=0)
    assert verdicts(None, None) == told | {"parity": "failed"}, "rows were there when it was made"


@pytest.mark.parametrize(
    "about",
    [{"inputs": []}, {"inputs": None}, {"inputs": [{"name": "user"}]}, {"inputs": [{"name": "user", "dtype": "int8"}]},
     {"inputs": 3}, {"environment": {}}, {"environment": {"libraries": {}}}, {"parity": {}}],
)  # fmt: skip
def test_a_manifest_that_lacks_something_is_a_verdict_not_a_traceback(about: dict[str, Any]) -> None:
    bundle(**about)
    found = verdicts(None, None)
    assert ("failed" in found.values()) == ("inputs" in about)


@pytest.mark.parametrize("change", ["output", "gather"])
def test_a_model_that_does_something_else_is_a_verdict(change: str) -> None:
    bundle()
    model = onnx.load(PLACE / "model.onnx")
    if change == "output":
        model.graph.output[0].name = model.graph.node[-1].output[0] = "p"
    else:
        node = next(n for n in model.graph.node if n.op_type == "LabelEncoder")
        next(a for a in node.attribute if a.name == "default_int64").i = 10**9
    with artefact(PLACE, "bundle", "2024-01-05", describe_inputs(MODEL.schema) | ABOUT) as folder:
        onnx.save(model, folder / "model.onnx")
        write_sample(folder, COLUMNS, np.zeros(20, np.float32))
    found = checks(None, None)
    assert found["model" if change == "output" else "parity"].verdict == "failed"


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"latency": {}}'])
def test_measurements_that_cannot_be_read_fail(content: str) -> None:
    bundle()
    Path("m.json").write_text(content)
    assert verdicts(Path("m.json"), None) == GOOD | {"latency": "failed"}


@pytest.mark.parametrize("what", ["link", "pipe"])
def test_what_is_no_plain_file_ends_it(what: str) -> None:
    bundle()
    odd = PLACE / "odd"
    odd.symlink_to("/dev/zero") if what == "link" else os.mkfifo(odd)
    found = checks(None, None)
    assert found.keys() == {"signature", "digests"}
    assert found["digests"].text.startswith(f"{PLACE}/odd is neither a file nor a folder")


@pytest.mark.parametrize(
    ("recorded", "slowest", "verdict"),
    [(1e9, None, "told"), (1e9, 2.0, "passed"), (1e-3, 2.0, "failed"), (1e-3, None, "told")],
)
def test_latency_is_judged_if_a_limit_is_asked(recorded: float, slowest: float | None, verdict: str) -> None:
    bundle()
    file = Path("measurements.json")
    write_json(file, {"latency": {"candidate": {"1": {"p50_us": recorded}, "64": {"p50_us": 1.0}}}})
    found = checks(file, slowest)["latency"]
    assert found.verdict == verdict
    assert "times the recorded ones at most" in found.text
    json.dumps(found.value)


def test_files_that_are_links_are_what_they_point_to() -> None:
    """So does DVC with `cache.type symlink`."""
    bundle()
    for name in ("model.onnx", "sample.json", "manifest.json"):
        (PLACE / name).rename(name)
        (PLACE / name).symlink_to(Path(name).resolve())
    assert verdicts(None, None) == GOOD
    Path("sample.json").write_text("{}")
    assert verdicts(None, None) == {"signature": "told", "digests": "failed"}


@pytest.mark.parametrize(
    "about", [{"environment": 3}, {"environment": {"libraries": []}}, {"parity": 3}, {"parity": {"int8": "x"}}]
)
def test_a_manifest_with_values_of_another_kind_fails(about: dict[str, Any]) -> None:
    bundle(precision="int8", **about)
    assert verdicts(None, None)["manifest"] == "failed"
