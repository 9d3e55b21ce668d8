"""`recprune doctor --repair`: what is stored comes back, what a kill left goes, what has no other copy stays."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.templates import Stored
from tests.e2e.workspaces import FIRST, SECOND, recprune

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def one_day(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = stored(tmp_path_factory.mktemp("one") / "w")
    recprune("run", "--day", SECOND, "--only", "plan", cwd=workspace)
    recprune("run", "--day", SECOND, "--only", "ingest", cwd=workspace)
    return workspace


def contents(workspace: Path) -> dict[str, str]:
    """Return the digest of every file of a workspace that is not DVC's, git's or a lock."""
    aside = (".git", ".dvc", ".recprune", "scratch", "remote")
    return {
        str(file.relative_to(workspace)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(workspace.rglob("*"))
        if file.is_file() and file.relative_to(workspace).parts[0] not in aside
    }


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()  # it may be a link to DVC's cache
    file.write_bytes(content)


def test_what_is_stored_comes_back_and_nothing_changes_without_being_asked(one_day: Path) -> None:
    whole = contents(one_day)
    model, events = one_day / f"models/{FIRST}/pruned", one_day / f"data/events/{SECOND}"
    flip(model / "served.safetensors")
    (one_day / f"vocab/{FIRST}/manifest.json").unlink()
    shutil.rmtree(one_day / f"bundles/{FIRST}")
    (one_day / f"plans/{FIRST}.json").write_text("{")
    flip(one_day / f"reports/{FIRST}/evaluation.json")
    (one_day / "registry/current.json").write_text("{}")
    lock = one_day / ".recprune/locks/nightly.lock"
    lock.write_text(json.dumps({"pid": 2**22 + 1, "command": "recprune run"}))
    left = one_day / "scratch/aside/models_half"
    left.mkdir(parents=True)
    flip(events / "events.parquet")
    damaged = contents(one_day)

    printed = recprune("doctor", cwd=one_day, code=1)
    assert contents(one_day) == damaged, "doctor without --repair changes nothing"
    assert lock.exists()
    assert left.exists()
    assert f"models/{FIRST}/pruned/served.safetensors was changed since the manifest was written" in printed
    assert f"reports/{FIRST}/evaluation.json is not as it was stored" in printed

    printed = recprune("doctor", "--repair", cwd=one_day, code=1)
    told = [line.removeprefix("repair: ") for line in printed.splitlines() if line.startswith("repair: ")]
    kept = "what was there lies in scratch/damaged"
    for expected in (
        "registry/current.json: written again from registry/history.jsonl; ",
        "scratch/aside/models_half: removed; a process that has ended left it",
        f"plans/{FIRST}.json: brought back from git as it was stored; {kept}/plans/{FIRST}.json",
        f"reports/{FIRST}/evaluation.json: brought back from git as it was stored; {kept}/reports/{FIRST}/eval",
        f"models/{FIRST}/pruned: replaced by the stored one; {kept}/models/{FIRST}/pruned",
        f"vocab/{FIRST}: replaced by the stored one; {kept}/vocab/{FIRST}",
        f"data/events/{SECOND}: left as it is, for {SECOND} is not stored and there is no other; run it: recprune run",
    ):
        assert any(line.startswith(expected) for line in told), (expected, told)
    assert lock.exists(), "a lock ends with its process; a file that is taken away could be held twice"
    assert "no lock is held" in printed
    assert not left.exists()
    assert (one_day / f"scratch/damaged/models/{FIRST}/pruned/served.safetensors").exists()
    mended = contents(one_day)
    differ = {name for name in whole.keys() | mended.keys() if whole.get(name) != mended.get(name)}
    champion = json.loads((one_day / "registry/current.json").read_text())["champion"]
    gone = {name for name in whole if name.startswith(f"bundles/{FIRST}/")} if champion != FIRST else set()
    assert differ == {f"data/events/{SECOND}/events.parquet"} | gone


def test_what_is_stored_but_damaged_there_too_replaces_nothing(one_day: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    shutil.copytree(one_day, workspace, symlinks=True)
    shutil.rmtree(workspace / ".dvc/cache")
    shutil.rmtree(workspace / "remote", ignore_errors=True)
    config = workspace / ".dvc/config"
    config.write_text(config.read_text().replace(str(one_day / "remote"), str(tmp_path / "gone")))
    file = workspace / f"models/{FIRST}/pruned/served.safetensors"
    flip(file)
    before = file.read_bytes()
    printed = recprune("doctor", "--repair", cwd=workspace, code=1)
    assert f"repair: models/{FIRST}/pruned: left as it is, for the stored one cannot be had whole (" in printed
    assert file.read_bytes() == before


def test_no_day_is_planned_from_a_verdict_that_was_changed(one_day: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    shutil.copytree(one_day, workspace, symlinks=True)
    gate = workspace / f"reports/{FIRST}/gate.json"
    gate.write_text(gate.read_text().replace('"verdict": "passed"', '"verdict": "held"', 1))
    printed = recprune("run", "--day", SECOND, "--only", "plan", cwd=workspace, code=1)
    assert (
        f"error: reports/{FIRST}/gate.json is not as it was stored, and {SECOND} would be planned from it." in printed
    )
    recprune("doctor", "--repair", cwd=workspace, code=(0, 1))
    recprune("run", "--day", SECOND, "--only", "plan", cwd=workspace)
