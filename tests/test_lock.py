import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recprune.errors import BusyError, ExitCode
from recprune.lock import FOLDER, hold, holder_of, is_held

LOCK = FOLDER / "workspace.lock"
HOLDER = """
import subprocess, sys, time
from recprune.lock import hold

with hold("workspace", "recprune run --day 2024-01-05", wait=False) as handle:
    if "child" in sys.argv:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[handle])
        print(child.pid)
    print("held", flush=True)
    time.sleep(60)
"""
Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that holds the lock; each one started is killed in the end, by its own id."""
    started: list[subprocess.Popen[str]] = []

    def holder(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOLDER, *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield holder
    for process in started:
        process.kill()
        process.communicate()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end_soon(pid: int, how: signal.Signals) -> "subprocess.Popen[bytes]":
    script = f"import os, time; time.sleep(0.4); os.kill({pid}, {how:d})"
    return subprocess.Popen([sys.executable, "-c", script])


def test_a_lock_names_its_holder_and_is_free_afterwards() -> None:
    assert not is_held(LOCK)
    with hold("workspace", "recprune run", wait=False):
        assert holder_of(LOCK) == {"pid": os.getpid(), "command": "recprune run"}
        assert is_held(LOCK)
    assert not is_held(LOCK)
    with hold("workspace", "again", wait=False):
        assert holder_of(LOCK)["command"] == "again"


def test_a_lock_is_free_after_an_error() -> None:
    with pytest.raises(ValueError, match="x"), hold("workspace", "recprune run", wait=False):
        raise ValueError("x")
    assert not is_held(LOCK)


def test_other_locks_are_free() -> None:
    with hold("workspace", "one", wait=False), hold("step", "two", wait=False):
        assert is_held(FOLDER / "step.lock")


def test_a_second_command_is_refused_and_told_who_works(workspace: Path, start: Start) -> None:
    process = start()
    assert line(process) == "held"
    assert is_held(LOCK)
    with pytest.raises(BusyError) as caught, hold("workspace", "recprune rollback", wait=False):
        pass
    assert caught.value.exit_code is ExitCode.FAILED
    assert str(caught.value) == (
        f"{workspace} is busy: `recprune run --day 2024-01-05` (process {process.pid}) works here. "
        "Two at once would spoil each other's day; wait until it has ended, then give the same command again."
    )
    assert holder_of(LOCK)["pid"] == process.pid


def test_a_killed_command_leaves_no_lock(start: Start) -> None:
    process = start()
    assert line(process) == "held"
    process.kill()
    process.wait()
    with hold("workspace", "recprune run", wait=False):
        assert holder_of(LOCK)["pid"] == os.getpid()


def test_what_a_killed_command_started_still_holds_and_is_waited_for(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    process = start("child")
    orphan = int(line(process))
    assert line(process) == "held"
    process.kill()
    process.wait()
    assert is_held(LOCK)
    killer = end_soon(orphan, signal.SIGKILL)
    begun = time.monotonic()
    with hold("workspace", "recprune run", wait=False):
        assert time.monotonic() - begun > 0.2
    killer.wait()
    assert capfd.readouterr().err == (
        f"`recprune run --day 2024-01-05` (process {process.pid}) was killed, but what it started "
        "still works here; waiting for it to end.\n"
    )


def test_who_waits_gets_the_lock_when_the_holder_ends(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    process = start()
    assert line(process) == "held"
    ender = end_soon(process.pid, signal.SIGTERM)
    with hold("workspace", "recprune step", wait=True):
        pass
    ender.wait()
    told = f"`recprune run --day 2024-01-05` (process {process.pid}) still works here; waiting for it to end.\n"
    assert capfd.readouterr().err == told


def test_the_same_command_given_twice_waits_and_another_is_refused(start: Start) -> None:
    process = start()
    assert line(process) == "held"
    with pytest.raises(BusyError), hold("workspace", "recprune run --day 2024-01-06", wait="for the same"):
        pass
    ender = end_soon(process.pid, signal.SIGTERM)
    with hold("workspace", "recprune run --day 2024-01-05", wait="for the same"):
        assert process.poll() is not None
    ender.wait()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"3", b"\xff", b'{"pid": "x"}'])
def test_a_lock_file_with_anything_in_it_is_taken(content: bytes) -> None:
    FOLDER.mkdir(parents=True)
    LOCK.write_bytes(content)
    assert holder_of(LOCK) in ({}, {"pid": "x"})
    with hold("workspace", "recprune run", wait=False):
        assert json.loads(LOCK.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("pid", [0, -1, 10**30, None, "x"])
def test_a_holder_without_a_real_process_counts_as_dead(pid: object, start: Start) -> None:
    process = start("child")
    orphan = int(line(process))
    assert line(process) == "held"
    process.kill()
    process.wait()
    LOCK.write_text(json.dumps({"pid": pid}))
    killer = end_soon(orphan, signal.SIGKILL)
    with hold("workspace", "recprune run", wait=False):
        pass
    killer.wait()
