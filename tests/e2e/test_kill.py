"""Kill −9 of the step, and of `dvc`, in every step; then the same command: the bytes of an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recprune.versioning.pipeline import STAGES
from tests.e2e.templates import Stored
from tests.e2e.workspaces import FIRST, SECOND, digests, git, holder, read, recprune

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def undisturbed(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose second day was run by one command; the second one has a real parent."""
    return stored(tmp_path_factory.mktemp("undisturbed") / "w", days=2)


@pytest.fixture(scope="module")
def expected(undisturbed: Path) -> dict[str, str]:
    return digests(undisturbed)


def dvc_above(pid: int) -> int:
    """Return the process id of the `dvc` that started a step."""
    while b"dvc" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(next(line for line in status.splitlines() if line.startswith("PPid")).split()[1])
    return pid


def run_and_kill(workspace: Path, stage: str, victim: str) -> str:
    """Run the second day; kill a process of the given stage as soon as it works; return what was printed."""
    command = [sys.executable, "-m", "recprune", "run", "--day", SECOND]
    process = subprocess.Popen(command, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wanted, until = f"recprune step {stage} --day {SECOND}", time.monotonic() + 120
    while holder(workspace).get("command") != wanted:
        assert process.poll() is None, f"the day ended before {stage}: {process.communicate()[0]}"
        assert time.monotonic() < until, f"{stage} never began"
        time.sleep(0.01)
    pid = int(str(holder(workspace)["pid"]))
    os.kill({"step": pid, "dvc": dvc_above(pid), "wrapper": process.pid}[victim], signal.SIGKILL)
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == (1 if victim != "wrapper" else -signal.SIGKILL), printed
    return printed


@pytest.mark.parametrize("victim", ["step", "dvc", "wrapper"])
def test_a_day_killed_in_every_step_ends_in_the_same_bytes(
    stored: Stored, expected: dict[str, str], tmp_path: Path, victim: str
) -> None:
    workspace = stored(tmp_path / "w")
    for stage in STAGES:
        printed = run_and_kill(workspace, stage, victim)
        if victim == "step":
            assert f"{SECOND} stopped in {stage}; nothing is lost." in printed
    recprune("run", "--day", SECOND, cwd=workspace, code=(0, 3))
    assert digests(workspace) == expected
    assert git(workspace, "status", "--porcelain") == ""


def test_a_day_killed_between_any_two_parts_of_store_and_promote_is_finished(
    undisturbed: Path, expected: dict[str, str]
) -> None:
    """The states that a kill can leave are made by undoing the parts one by one, last part first."""
    workspace = undisturbed
    passed = read(workspace, f"reports/{SECOND}/gate.json")["verdict"] == "passed"
    assert passed, "the second day must be promoted for this test to say something"
    log = git(workspace, "log", "--format=%s").splitlines()

    (workspace / f"reports/{SECOND}/index.html").unlink()  # promoted, not in the report
    recprune("run", "--day", SECOND, cwd=workspace)
    assert (workspace / f"reports/{SECOND}/index.html").exists()

    git(workspace, "reset", "--soft", "HEAD~1")  # registry written, not committed
    recprune("run", "--day", SECOND, cwd=workspace)
    assert git(workspace, "log", "--format=%s").splitlines() == log

    pointer = workspace / "registry/current.json"
    pointer.write_text(json.dumps(read(workspace, "registry/current.json") | {"champion": FIRST}))
    recprune("run", "--day", SECOND, cwd=workspace)  # history written, pointer not moved
    assert read(workspace, "registry/current.json")["champion"] == SECOND

    git(workspace, "reset", "--hard", "--quiet", f"day/{SECOND}")  # stored, not promoted
    assert read(workspace, "registry/current.json")["champion"] != SECOND
    recprune("run", "--day", SECOND, cwd=workspace)
    assert read(workspace, "registry/current.json")["champion"] == SECOND

    git(workspace, "reset", "--hard", "--quiet", f"day/{SECOND}")
    git(workspace, "tag", "--delete", f"day/{SECOND}")  # committed, not tagged
    recprune("run", "--day", SECOND, cwd=workspace)
    assert git(workspace, "log", "--format=%s").splitlines() == log
    assert f"day/{SECOND}" in git(workspace, "tag").split()
    assert digests(workspace) == expected
