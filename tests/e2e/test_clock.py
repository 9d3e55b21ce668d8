"""A wall clock that jumps a year back and forth, between steps and within them, for python, dvc and git alike."""

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.clocks import DAY, Clock
from tests.e2e.templates import Stored
from tests.e2e.workspaces import SECOND, digests, git, read, recprune

pytestmark = pytest.mark.e2e

YEAR = 365 * DAY
OFFSETS = (0, -YEAR, YEAR, -DAY, 3600)
ROOT = Path(__file__).parents[2]
CLOCKED = (
    "tests/test_lock.py", "tests/registry", "tests/steps/test_force.py", "tests/steps/test_promote.py",
    "tests/steps/test_plan.py", "tests/steps/test_plan_restart.py", "tests/gating/test_rules.py",
    "tests/gating/test_accuracy.py", "tests/training/test_midway.py", "tests/versioning",
)  # fmt: skip
"""Tests of locks, of the registry's history, of a forced promotion's end, of the champion's age, of checkpoints."""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"))


@contextmanager
def jumping(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let every command started within see a clock that jumps three times a second; yields the jumps."""
    draw, jumps, over = random.Random(1), list[int](), threading.Event()
    clock.set(0)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)

    def jump() -> None:
        while not over.wait(0.33):
            jumps.append(draw.choice(OFFSETS))
            clock.set(jumps[-1])

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        yield jumps
    finally:
        over.set()
        thread.join()
        for name in clock.environment:
            monkeypatch.delenv(name)


READ = "import time\nfor _ in range(40): print(int(time.time())); time.sleep(.05)"


def test_the_clock_does_jump(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with jumping(clock, monkeypatch):
        done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    times = [int(line) for line in done.stdout.splitlines()]
    assert max(times) - min(times) > YEAR // 2


def test_a_day_under_a_jumping_clock_ends_in_the_bytes_of_any_other(
    stored: Stored, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    workspace, whole = stored(tmp_path / "w"), stored(tmp_path / "whole", days=2)
    with jumping(clock, monkeypatch) as jumps:
        recprune("run", "--day", SECOND, cwd=workspace)
        told = recprune("status", cwd=workspace) + recprune("doctor", cwd=workspace)
        assert "is stored (passed)" in recprune("run", "--day", SECOND, cwd=workspace)
    assert len(jumps) > 5
    assert "✗" not in told
    assert digests(workspace) == digests(whole)
    assert read(workspace, "registry/current.json") == read(whole, "registry/current.json")
    assert git(workspace, "status", "--porcelain") == ""


def test_locks_promotions_and_ages_do_not_ask_the_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with jumping(clock, monkeypatch):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *CLOCKED],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
