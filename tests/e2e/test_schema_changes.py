"""A schema and a network that change between the days of a real workspace."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.templates import Stored
from tests.e2e.workspaces import FIRST, SECOND, THIRD, change_settings, digests, git, read, recprune

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def one_day(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = stored(tmp_path_factory.mktemp("changes") / "w")
    change_settings(workspace, {"gate": {"ne_margin": 1.0}})
    return workspace


def copy(workspace: Path, to: Path) -> Path:
    shutil.copytree(workspace, to, symlinks=True)
    return to


def rule(workspace: Path, day: str, name: str) -> dict[str, object]:
    rules = read(workspace, f"reports/{day}/gate.json")["rules"]
    return dict(next(r for r in rules if r["name"] == name))


def test_new_and_dropped_features_are_named_held_and_served_once_they_are_accepted(
    one_day: Path, tmp_path: Path
) -> None:
    workspace = copy(one_day, tmp_path / "w")
    change_settings(workspace, {"ingest": {"simulator": {"categorical": 6, "numeric": 1}}})
    printed = recprune("run", "--day", SECOND, cwd=workspace, code=3)
    told = f"{SECOND} continues {FIRST} with changes. new features: c05; features gone: n01; "
    assert told in printed
    change = read(workspace, f"plans/{SECOND}.json")["change"]
    assert (change["new"], change["gone"], change["served_restarts"]) == (["c05"], ["n01"], False)
    schema = rule(workspace, SECOND, "schema")
    assert schema["verdict"] == "failed"
    digest = read(workspace, f"reports/{SECOND}/evaluation.json")["inputs"]["digest"]
    assert f'accept_inputs: "{digest}"' in str(schema["reason"])
    assert "c05" in (workspace / f"reports/{SECOND}/index.html").read_text()

    change_settings(workspace, {"gate": {"accept_inputs": digest}})
    recprune("run", "--day", THIRD, cwd=workspace)
    assert rule(workspace, THIRD, "schema")["verdict"] == "passed"
    assert json.loads((workspace / "registry/current.json").read_text())["champion"] == THIRD
    assert read(workspace, f"plans/{THIRD}.json")["change"] is None

    clone = tmp_path / "clone"  # an earlier day gives its bytes again, whatever came after
    git(tmp_path, "clone", "--quiet", str(workspace), str(clone))
    git(clone, "checkout", "--quiet", f"day/{SECOND}")
    for day in (FIRST, SECOND):
        recprune("fetch", day, cwd=clone)
    for command in (["repro", "--force", "--single-item", "train"], ["repro"]):
        done = subprocess.run([sys.executable, "-m", "dvc", *command], cwd=clone, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    ours = digests(clone, lambda name: SECOND in name and not name.startswith("plans"))
    theirs = digests(workspace, lambda name: SECOND in name and not name.startswith("plans"))
    for found in (ours, theirs):
        found.pop("metrics.json")
    assert ours == theirs


def test_another_embedding_starts_every_line_fresh_and_says_so(one_day: Path, tmp_path: Path) -> None:
    workspace = copy(one_day, tmp_path / "w")
    change_settings(workspace, {"model": {"embedding": 4}})
    printed = recprune("run", "--day", SECOND, cwd=workspace, code=(0, 3))
    assert "model.embedding is 4, was 8; nothing of the old network fits: every line starts fresh" in printed
    assert rule(workspace, SECOND, "schema")["verdict"] == "passed", "the inputs are the same"
    recprune("run", "--day", THIRD, cwd=workspace, code=(0, 3))
    assert read(workspace, f"reports/{THIRD}/prune.json")["phase"] == "carving"


def test_a_plan_that_exists_is_told_what_changed_since_before_anything_is_learned(
    one_day: Path, tmp_path: Path
) -> None:
    workspace = copy(one_day, tmp_path / "w")
    recprune("run", "--day", SECOND, "--only", "plan", cwd=workspace)
    before = read(workspace, f"plans/{SECOND}.json")
    change_settings(workspace, {"model": {"top": [80, 32]}})
    printed = recprune("run", "--day", SECOND, "--only", "ingest", cwd=workspace, code=1)
    assert (
        f"error: {SECOND} was planned for another schema or section model than params.yaml has now, and a change must "
        f"stand in the plan: restore them, or plan again with: recprune run --day {SECOND} --only plan" in printed
    )
    printed = recprune("run", "--day", SECOND, cwd=workspace, code=(0, 3))
    assert "model.top is [80, 32], was [64, 32]" in printed
    after = read(workspace, f"plans/{SECOND}.json")
    assert {k: v for k, v in after.items() if k not in ("change", "settings")} == {
        k: v for k, v in before.items() if k not in ("change", "settings")
    }
