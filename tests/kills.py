"""Processes that are killed at a chosen instant."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

FRESH = multiprocessing.get_context("forkserver")
"""Starts processes that have imported this, and computed nothing."""
FRESH.set_forkserver_preload(["pytest", "recprune.training.distributed.worker", "recprune.pruning.dynamic_sparse"])

_CHANGES = ("os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir", "mmap.__new__", "subprocess.Popen")


def killed_at(operation: int, command: Callable[[], object]) -> bool:
    """Run a command in a process that is killed (−9) before its n-th change of a file; say whether it was.

    The process is a fork of this one, in which a command that uses Polars, or MKL in several threads, would wait for
    ever: see `code_killed_at` and `call_killed_at`.
    """
    child = os.fork()
    if child == 0:
        die_before(operation)
        try:
            command()
        finally:  # never back into pytest
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def call_killed_at(operation: int, function: Callable[..., object], *arguments: object) -> bool:
    """Do the same with a function that learns: in a process that no thread has computed in before.

    Function and arguments are pickled. The process is a fork of one that has imported torch and done nothing else, for
    MKL's list of threads does not survive a fork: new threads can then search it without end.
    """
    process = FRESH.Process(target=_call, args=(operation, function, *arguments))
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _call(operation: int, function: Callable[..., object], *arguments: object) -> None:
    die_before(operation)
    function(*arguments)


def code_killed_at(operation: int, prepare: str, code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a fresh interpreter that is killed before the n-th change of a file that `code` makes."""
    text = f"{prepare}\nfrom tests.kills import die_before\ndie_before({operation})\n{code}\n"
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=False)


def die_before(operation: int) -> None:
    """Kill this process before its n-th change of a file from now on."""
    left = operation

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event in _CHANGES:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
