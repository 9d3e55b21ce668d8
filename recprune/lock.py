"""Locks between processes: one command per workspace, one step at a time.

A lock is an `flock` on a file that also names its holder. The kernel lets go when the last process that
inherited it ends, so that a killed command never leaves a lock behind, while a child that outlives it
(a killed `dvc` leaves its stage running) still holds it.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from recprune.errors import DISK_FULL, BusyError

FOLDER = Path(".recprune/locks")
_ORPHAN_SECONDS = 3600


@contextmanager
def hold(name: str, command: str, *, wait: bool | Literal["for the same"]) -> Iterator[int]:
    """Hold a lock of the workspace (the current directory); yields its file descriptor.

    If the holder has died and only what it started still runs, this waits for it to end. If the holder is
    alive: waits if `wait`, or if it is the same command and `wait` says so; else refuses.

    Raises:
        BusyError: names the other command and its process.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(handle, path, command, wait)
        _sign(handle, command)
        yield handle
    finally:
        os.close(handle)


def _sign(handle: int, command: str) -> None:
    """Write who holds the lock into its file; on a full disk the lock holds without a name."""
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "command": command}).encode(), 0)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise


def _acquire(handle: int, path: Path, command: str, wait: bool | Literal["for the same"]) -> None:
    told, until = False, time.monotonic() + _ORPHAN_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = holder_of(path)
        who = f"`{holder.get('command', 'another command')}` (process {holder.get('pid', 'unknown')})"
        alive = _alive(holder.get("pid"))
        waits = holder.get("command") == command if wait == "for the same" else wait
        if (alive and not waits) or time.monotonic() > until:
            raise BusyError(
                f"{Path.cwd()} is busy: {who} works here. Two at once would spoil each other's day; "
                "wait until it has ended, then give the same command again."
            )
        if not told:
            state = "still works here" if alive else "was killed, but what it started still works here"
            sys.stderr.write(f"{who} {state}; waiting for it to end.\n")
            told = True
        time.sleep(0.1)


def holder_of(path: Path) -> dict[str, Any]:
    """Return what the lock's file says of its last holder, empty if nothing."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def is_held(path: Path) -> bool:
    """Say whether some process holds the lock now."""
    if not path.exists():
        return False
    with path.open("rb") as file:  # to read, so that a workspace that may only be read can be examined
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:  # 0 and less would mean groups of processes
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
