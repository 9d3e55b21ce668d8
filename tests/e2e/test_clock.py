"""A wall clock that jumps a year back and forth, between steps and within them, for python, dvc and git alike."""

import os
import random
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.workspaces import FIRST, SECOND, digests, git, make_workspace, read, recprune

pytestmark = pytest.mark.e2e

YEAR = 365 * 86_400
OFFSETS = (0, -YEAR, YEAR, -YEAR // 365, 3600)
ROOT = Path(__file__).parents[2]
CLOCKED = (
    "tests/test_lock.py", "tests/registry", "tests/steps/test_force.py", "tests/steps/test_promote.py",
    "tests/steps/test_plan.py", "tests/steps/test_plan_restart.py", "tests/gating/test_rules.py",
    "tests/gating/test_accuracy.py", "tests/training/test_midway.py", "tests/versioning",
)  # fmt: skip
"""Tests of locks, of the registry's history, of a forced promotion's end, of the champion's age, of checkpoints."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None or sys.platform != "linux":
        pytest.skip("the jumping clock is a small C library, and there is no compiler here")
    path = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(path), str(source), "-ldl"], check=True)
    return path


@contextmanager
def jumping(library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let every command started within see a clock that jumps three times a second; yields the jumps."""
    file, draw, jumps, over = library.with_name("offset"), random.Random(1), list[int](), threading.Event()
    file.write_bytes(struct.pack("l", 0))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("JUMPING_CLOCK", str(file))

    def jump() -> None:
        with file.open("r+b") as handle:
            while not over.wait(0.33):
                jumps.append(draw.choice(OFFSETS))
                os.pwrite(handle.fileno(), struct.pack("l", jumps[-1]), 0)

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        yield jumps
    finally:
        over.set()
        thread.join()
        monkeypatch.delenv("LD_PRELOAD")
        monkeypatch.delenv("JUMPING_CLOCK")


READ = "import time\nfor _ in range(40): print(int(time.time())); time.sleep(.05)"


def test_the_clock_does_jump(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with jumping(library, monkeypatch):
        done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    times = [int(line) for line in done.stdout.splitlines()]
    assert max(times) - min(times) > YEAR // 2


def test_a_day_under_a_jumping_clock_ends_in_the_bytes_of_any_other(
    library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    workspace = make_workspace(tmp_path / "w")
    recprune("run", "--day", FIRST, cwd=workspace)
    whole = tmp_path / "whole"
    shutil.copytree(workspace, whole, symlinks=True)
    recprune("run", "--day", SECOND, cwd=whole)
    with jumping(library, monkeypatch) as jumps:
        recprune("run", "--day", SECOND, cwd=workspace)
        told = recprune("status", cwd=workspace) + recprune("doctor", cwd=workspace)
        assert "is stored (passed)" in recprune("run", "--day", SECOND, cwd=workspace)
    assert len(jumps) > 5
    assert "✗" not in told
    assert digests(workspace) == digests(whole)
    assert read(workspace, "registry/current.json") == read(whole, "registry/current.json")
    assert git(workspace, "status", "--porcelain") == ""


def test_locks_promotions_and_ages_do_not_ask_the_clock(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with jumping(library, monkeypatch):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *CLOCKED],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
