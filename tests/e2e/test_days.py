"""Real days on a real workspace: stored days, quarantined and held ones, gaps, clones, rollback, errors."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.templates import Stored
from tests.e2e.workspaces import (
    FIRST,
    SECOND,
    THIRD,
    change_settings,
    digests,
    git,
    read,
    recprune,
    run,
)

pytestmark = pytest.mark.e2e

FOURTH = "2024-01-04"
GONE = {"ingest": {"simulator": {"faults": [{"day": SECOND, "name": "column_gone", "strength": 1.0}]}}}


@pytest.fixture(scope="module")
def three_days(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Three days, the second one with a column gone; and what was printed."""
    workspace = stored(tmp_path_factory.mktemp("three") / "w")
    change_settings(workspace, GONE)
    return workspace, recprune("run", "--from", FIRST, "--to", THIRD, cwd=workspace, code=3)


def copy(workspace: Path, to: Path) -> Path:
    shutil.copytree(workspace, to, symlinks=True)
    return to


def test_a_quarantined_day_is_stored_and_the_next_one_goes_on_from_the_day_before(
    three_days: tuple[Path, str],
) -> None:
    workspace, printed = three_days
    verdict = read(workspace, f"reports/{SECOND}/validation/verdict.json")
    assert verdict["verdict"] == "quarantined"
    gone = verdict["problems"][0]
    assert gone.startswith("column ")
    assert gone.endswith(" is missing")
    assert f"{SECOND} quarantined: {gone}" in printed
    assert read(workspace, f"plans/{THIRD}.json")["parent"] == FIRST
    assert git(workspace, "tag").split() == [f"day/{d}" for d in ("2023-12-31", FIRST, SECOND, THIRD)]
    assert git(workspace, "status", "--porcelain") == ""


def test_a_stored_day_is_left_alone_under_any_settings(three_days: tuple[Path, str], tmp_path: Path) -> None:
    workspace = copy(three_days[0], tmp_path / "w")
    before = digests(workspace)
    change_settings(workspace, {"prune": {"budget": 0.5}})
    printed = recprune("run", "--day", FIRST, cwd=workspace)
    assert f"{FIRST} is stored (passed) and is never rewritten; nothing to do." in printed
    assert "params.yaml has changed since; the change counts for days to come." in printed
    assert digests(workspace) == before
    assert recprune("run", "--day", SECOND, cwd=workspace, code=3).startswith(f"{SECOND} is stored (quarantined)")


def test_a_gap_of_days_is_refused_with_the_days_to_run(three_days: tuple[Path, str], tmp_path: Path) -> None:
    workspace = copy(three_days[0], tmp_path / "w")
    printed = recprune("run", "--day", "2024-01-06", cwd=workspace, code=1)
    assert (
        "error: 2024-01-06 cannot be planned: 2024-01-04, 2024-01-05 before it have no verdict, and a warm start "
        "must not skip a day. Run first: recprune run --from 2024-01-04 --to 2024-01-05"
    ) in printed
    assert not (workspace / "plans/2024-01-06.json").exists()
    printed = recprune("run", "--day", "2023-12-31", cwd=workspace, code=1)
    assert "error: 2023-12-31 is not after 2023-12-31, the day this workspace starts from" in printed


def test_a_held_day_keeps_the_champion_and_a_fresh_clone_goes_on_after_it(
    three_days: tuple[Path, str], tmp_path: Path
) -> None:
    workspace = copy(three_days[0], tmp_path / "w")
    change_settings(workspace, {"gate": {"max_megabytes": 1e-6}})
    printed = recprune("run", "--day", FOURTH, cwd=workspace, code=3)
    champion = read(workspace, "registry/current.json")["champion"]
    assert champion == THIRD
    assert f"{FOURTH} held: the model file's size in MB is" in printed
    assert f"Champion {THIRD} keeps serving." in printed
    change_settings(workspace, {"gate": {"max_megabytes": 1000.0}})
    git(workspace, "commit", "--quiet", "--all", "--message", "allow larger models again")

    git(tmp_path, "clone", "--quiet", "--bare", str(workspace), "bare")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "bare", str(clone))
    assert not (clone / f"models/{FOURTH}").exists()
    fifth = "2024-01-05"
    recprune("run", "--day", fifth, cwd=clone)
    assert f"day/{fifth}" in git(tmp_path / "bare", "tag").split(), "the tag was pushed"
    plan = read(clone, f"plans/{fifth}.json")
    assert (plan["parent"], plan["champion"]) == (FOURTH, THIRD)
    recprune("run", "--day", fifth, cwd=workspace)
    assert digests(clone, lambda name: fifth in name) == digests(workspace, lambda name: fifth in name)


def test_rollback_is_fast_recorded_and_stays(three_days: tuple[Path, str], tmp_path: Path) -> None:
    workspace = copy(three_days[0], tmp_path / "w")
    printed = recprune("rollback", "--why", "clicks fell", cwd=workspace)
    assert f"{FIRST} serves again" in printed
    last = json.loads((workspace / "registry/history.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["champion"], last["why"]) == ("rollback", FIRST, "clicks fell")
    recprune("run", "--day", FOURTH, cwd=workspace, code=(0, 3))
    assert read(workspace, f"plans/{FOURTH}.json")["champion"] == FIRST
    printed = recprune("rollback", "--to", SECOND, "--why", "x", cwd=workspace, code=1)
    assert f"error: {SECOND} never served, so it is no champion to return to" in printed


def test_a_damaged_checkpoint_is_named_and_fetch_mends_it(three_days: tuple[Path, str], tmp_path: Path) -> None:
    workspace = copy(three_days[0], tmp_path / "w")
    file = workspace / f"models/{THIRD}/pruned/served.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    printed = recprune("run", "--day", FOURTH, cwd=workspace, code=1)
    assert (
        f"error: models/{THIRD}/pruned/served.safetensors was changed since the manifest was written; "
        f"bring the stored one back with: recprune fetch {THIRD}"
    ) in printed
    assert "served.safetensors was changed" in recprune("doctor", cwd=workspace, code=1)
    recprune("fetch", THIRD, cwd=workspace)
    assert file.read_bytes() == whole
    recprune("run", "--day", FOURTH, cwd=workspace, code=(0, 3))
    assert "as their manifests say" in recprune("doctor", cwd=workspace)


def test_two_runs_at_once_one_refuses_and_names_the_other(three_days: tuple[Path, str], tmp_path: Path) -> None:
    workspace = copy(three_days[0], tmp_path / "w")
    command = [sys.executable, "-m", "recprune", "run", "--day", FOURTH]
    first = subprocess.Popen(command, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lock = workspace / ".recprune/locks/workspace.lock"
    until = time.monotonic() + 60
    while time.monotonic() < until and not _held(lock):
        time.sleep(0.05)
    second = run("run", "--day", FOURTH, cwd=workspace)
    assert second.returncode == 1
    assert f"is busy: `recprune run --day {FOURTH}` (process {first.pid}) works here." in second.stdout
    assert first.wait(timeout=300) in (0, 3)
    assert first.stdout is not None
    first.stdout.close()


def _held(lock: Path) -> bool:
    with lock.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return bool(lock.read_text())
        return False


def test_wrong_settings_are_reported_together_and_nothing_is_touched(
    three_days: tuple[Path, str], tmp_path: Path
) -> None:
    workspace = copy(three_days[0], tmp_path / "w")
    before = digests(workspace)
    change_settings(workspace, {"prune": {"budget": 1.2, "refesh_threshold": 0.1}, "train": {"batch": "many"}})
    printed = recprune("run", "--day", FOURTH, cwd=workspace, code=2)
    assert "error: params.yaml: prune.budget is 1.2; it must lie in (0, 1]." in printed
    assert "prune.refesh_threshold is not a setting; did you mean refresh_threshold?" in printed
    assert "train.batch is 'many'; it must be a whole number." in printed
    assert digests(workspace) == before


def test_wrong_use_exits_2(three_days: tuple[Path, str]) -> None:
    workspace = three_days[0]
    assert "error: day '2024-1-5' is not a calendar day" in recprune("run", "--day", "2024-1-5", cwd=workspace, code=2)
    assert "--only trian needs --day D and one of these steps" in recprune(
        "run", "--day", FOURTH, "--only", "trian", cwd=workspace, code=2
    )
    assert "No such command" in recprune("runn", cwd=workspace, code=2)


def test_outside_a_workspace_every_command_says_so(tmp_path: Path) -> None:
    for command in (
        ["status"],
        ["run", "--day", FIRST],
        ["report"],
        ["rollback", "--why", "x"],
        ["fetch", FIRST],
    ):
        printed = recprune(*command, cwd=tmp_path, code=(1, 2))
        assert "Traceback" not in printed
        assert "recprune init DIR" in printed, command


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_workspace_fails_with_a_sentence(three_days: tuple[Path, str], tmp_path: Path) -> None:
    workspace = copy(three_days[0], tmp_path / "w")
    (workspace / ".recprune/locks").chmod(0o500)
    assert "Permission denied" in recprune("run", "--day", FOURTH, cwd=workspace, code=1)


def test_status_and_doctor_tell_the_days(three_days: tuple[Path, str]) -> None:
    workspace = three_days[0]
    printed = recprune("status", cwd=workspace)
    assert f"Champion: {THIRD}" in printed
    assert "quarantined" in printed
    assert "no lock is held" in recprune("doctor", cwd=workspace)


def test_a_past_day_is_rebuilt_to_the_same_bytes(three_days: tuple[Path, str]) -> None:
    workspace = three_days[0]
    before, log = digests(workspace), git(workspace, "log", "--all", "--format=%s")
    printed = recprune("replay", FIRST, "--verify", cwd=workspace)
    assert f"{FIRST} is verified: 14 artefacts, 53 files, the same bytes." in printed
    assert f"{SECOND} is verified: 4 artefacts" in recprune("replay", SECOND, "--verify", cwd=workspace)
    assert (digests(workspace), git(workspace, "log", "--all", "--format=%s")) == (before, log)
    assert list((workspace / "scratch/replay").iterdir()) == []
    assert git(workspace, "status", "--porcelain") == ""


def test_old_days_are_collected_and_come_back_to_the_same_bytes(three_days: tuple[Path, str], tmp_path: Path) -> None:
    workspace = copy(three_days[0], tmp_path / "w")
    before, remote = digests(workspace), sorted((three_days[0] / "remote").rglob("*"))
    printed = recprune("gc", "--keep", "1", cwd=workspace)
    assert f"They are gone. To bring a day back: recprune fetch {SECOND}" in printed
    left = digests(workspace)
    assert left.items() >= {name: digest for name, digest in before.items() if THIRD in name}.items()
    assert not any(name.startswith(("data/", "vocab/", "models/", "scores/")) and SECOND in name for name in left)
    assert sorted((three_days[0] / "remote").rglob("*")) == remote
    assert "fetching" not in recprune("run", "--day", FOURTH, "--only", "plan", cwd=workspace)
    printed = recprune("replay", FIRST, "--verify", cwd=workspace)
    assert f"{FIRST} is verified: 14 artefacts, 53 files, the same bytes." in printed
    for day in (FIRST, SECOND):
        recprune("fetch", day, cwd=workspace)
    after = digests(workspace, lambda name: "2023-12-31" not in name)
    assert after.items() >= {name: digest for name, digest in before.items() if "2023-12-31" not in name}.items()
    assert "artefacts are as their manifests say" in recprune("doctor", cwd=workspace)


def test_a_day_that_is_rebuilt_to_other_bytes_is_told(
    three_days: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without vector instructions torch adds in another order."""
    workspace = three_days[0]
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    printed = recprune("replay", THIRD, "--verify", cwd=workspace, code=1)
    assert f"{THIRD} is not the same day: models/{THIRD}/trained is the first artefact that differs" in printed
    assert (workspace / f"scratch/replay/{THIRD}/stored/models/{THIRD}/trained").is_dir()
    assert "no lock is held" in recprune("doctor", cwd=workspace)


def test_what_cannot_be_rebuilt_is_told(three_days: tuple[Path, str]) -> None:
    workspace = three_days[0]
    printed = recprune("replay", "2024-01-09", "--verify", cwd=workspace, code=1)
    assert f"2024-01-09 is not stored (no tag day/2024-01-09); the last stored days: 2023-12-31, {FIRST}" in printed
    assert "is genesis, which recprune init made" in recprune("replay", "2023-12-31", "--verify", cwd=workspace, code=1)


def test_a_directory_that_was_removed_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f'cd "{gone}" && rmdir "{gone}" && exec "{sys.executable}" -P -m recprune status'
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (
        2,
        "error: the current directory was removed; go to one that is there: cd DIR\n",
    )
