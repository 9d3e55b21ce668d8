"""Stop a process group and all that it started: ``python scripts/stop_group.py GROUP [GRACE]``.

Airflow puts each task into a process group of its own and each command into a session of its own, so a signal
to the group alone can leave a training step behind. Members are found by id and parent, never by name. GRACE
is the time in seconds that all have to end by themselves.

Members that watch over a command outside the group are killed first: asked to end, they would report the task as
failed, if the web server still listens by then; a task of which nobody reports is begun again at the next start.
"""

import os
import signal
import sys
import time
from contextlib import suppress

import psutil


def living(group: int, known: set[psutil.Process]) -> set[psutil.Process]:
    """Return what still runs of the known processes, of the group, and of all below them."""
    found = set(known)
    found.update(process for process in psutil.process_iter() if belongs(process, group))
    for process in list(found):
        with suppress(psutil.Error):
            found.update(process.children(recursive=True))
    return {process for process in found if runs(process)}


def belongs(process: psutil.Process, group: int) -> bool:
    """Return whether it is a member of the process group."""
    try:
        return os.getpgid(process.pid) == group
    except (ProcessLookupError, PermissionError):
        return False


def runs(process: psutil.Process) -> bool:
    """Return whether it still runs; a zombie does not, whoever should have collected it."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def stop(group: int, grace: float) -> None:
    """Ask the group to end; after the grace period, kill what is left of it and below it."""
    family = living(group, set())  # before the signal: an orphan no longer names its parent
    outside = [process for process in family if not belongs(process, group)]
    for process in family.difference(outside):
        with suppress(psutil.Error):
            if not set(process.children()).isdisjoint(outside):
                process.kill()
    for process in outside:
        with suppress(psutil.Error):
            process.terminate()
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while family and time.monotonic() < deadline:
        time.sleep(0.2)
        family = living(group, family)
    while family:
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(0.2)
        family = living(group, family)


if __name__ == "__main__":
    stop(int(sys.argv[1]), grace=float(sys.argv[2]) if len(sys.argv) > 2 else 30.0)
