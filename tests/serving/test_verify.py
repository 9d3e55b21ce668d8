import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from recprune.data.schema import ids, number
from recprune.errors import SettingsError
from recprune.files import artefact, write_json
from recprune.lowering.graph import build_graph
from recprune.lowering.inputs import describe_inputs
from recprune.serving.sample import write_sample
from recprune.serving.scorer import Scorer
from recprune.serving.verify import Check, verify
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


def bundle(shift: Any = 0.0, rows: int = 20, **about: Any) -> Path:
    with artefact(PLACE, "bundle", "2024-01-05", describe_inputs(MODEL.schema) | ABOUT | about) as folder:
        onnx.save(build_graph(MODEL.line, MODEL.vocabulary, MODEL.schema, 0.25), folder / "model.onnx")
        p = MODEL.expected(rows_of(MODEL.schema, 20, seed=2)).astype(np.float32) + np.asarray(shift, np.float32)
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
    bundle(shift=2e-5, lowering={"layers": "fp32", "rows": "uint8"})
    assert verdicts(None, None) == GOOD | {"parity": "failed"}, "rows are rounded alike everywhere"
    p = MODEL.expected(rows_of(MODEL.schema, 20, seed=2))
    bundle(shift=0.04 * p * (1 - p), lowering={"layers": "int8"})
    assert verdicts(None, None) == GOOD, "what is rounded may be rounded otherwise on another CPU"
    bundle(shift=0.06 * p * (1 - p) + 1e-5, lowering={"layers": "int8"})
    assert verdicts(None, None) == GOOD | {"parity": "failed"}, "but not by that much"


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


@pytest.mark.parametrize("about", [{"environment": 3}, {"environment": {"libraries": []}}, {"lowering": 3}])
def test_a_manifest_with_values_of_another_kind_fails(about: dict[str, Any]) -> None:
    bundle(precision="int8", **about)
    assert verdicts(None, None)["manifest"] == "failed"


def rows(**changes: Any) -> Any:
    return lambda inputs: {
        i["name"]: (COLUMNS | changes)[i["name"]] for i in inputs if changes.get(i["name"], 1) is not None
    }


def test_rows_of_ones_own_are_scored_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle()
    found = {check.name: check for check in verify(PLACE, None, None, rows=rows())}
    assert {name: check.verdict for name, check in found.items()} == GOOD | {"rows": "passed"}
    mean = Scorer(PLACE).score(COLUMNS).mean()
    assert found["rows"].text == (
        f"p_click of 20 rows is within [0, 1], mean {mean:.4g}; whether it is right was not looked at: that needs "
        "their labels, or the network"
    )
    seen: list[int] = []
    score = Scorer.score
    monkeypatch.setattr(
        Scorer, "score", lambda self, columns: seen.append(len(columns["user"])) or score(self, columns)
    )
    many = {name: np.tile(values, 1000) for name, values in COLUMNS.items()}
    verify(PLACE, None, None, rows=lambda _: many)
    assert seen[:3] == [8192, 8192, 20_000 - 2 * 8192], "not all in one call"


@pytest.mark.parametrize("p", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_probability_fails(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle()
    score = Scorer.score

    def one_wrong(self: Scorer, columns: Any) -> Any:
        found = score(self, columns)
        if len(found) == 20:
            found[3] = p
        return found

    monkeypatch.setattr(Scorer, "score", one_wrong)
    [found] = [check for check in verify(PLACE, None, None, rows=rows()) if check.name == "rows"]
    assert (found.verdict, found.text) == (
        "failed", f"p_click of 1 of 20 rows is no number within [0, 1], first row 3: {float(np.float32(p))}"
    )  # fmt: skip


def test_rows_that_are_none_of_the_model_are_wrong_use() -> None:
    bundle()
    with pytest.raises(SettingsError, match=r"^inputs price are missing; the model's manifest lists all inputs\.$"):
        verify(PLACE, None, None, rows=rows(price=None))
    empty = {name: values[:0] for name, values in COLUMNS.items()}
    found = {check.name: check.verdict for check in verify(PLACE, None, None, rows=lambda _: empty)}
    assert found == {name: v for name, v in GOOD.items() if name != "latency"} | {"rows": "told"}


def test_a_bundle_that_is_older_than_sample_rows_says_so() -> None:
    with artefact(PLACE, "bundle", "2024-01-05", describe_inputs(MODEL.schema) | ABOUT) as folder:
        onnx.save(build_graph(MODEL.line, MODEL.vocabulary, MODEL.schema, 0.25), folder / "model.onnx")
    old = "the bundle is older than the sample rows that bundles carry now, so that parity cannot be checked here"
    found = checks(None, None)["parity"]
    assert found.verdict == "failed"
    assert found.text == (f"{old}: score rows of your own with --rows FILE, or serve a bundle that recprune made since")
    given = {check.name: check for check in verify(PLACE, None, None, rows=rows())}
    assert given["parity"].text == f"{old}; rows of --rows were scored instead"
    assert {check.verdict for check in given.values()} == {"passed", "told"}
    assert given["latency"].value.keys() == {"1", "128"}
