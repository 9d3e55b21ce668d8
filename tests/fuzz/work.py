"""The process that tries cases, one after another; whoever started it sees from outside if one ends or holds it."""

import os
import random
import resource
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from types import FrameType

from tests.fuzz.case import Target, Try, outcome
from tests.fuzz.targets import TARGETS

SECONDS = 5.0
"""Processor time that a case may take, hundreds of times what one takes; the machine may be busy with other things."""
MEMORY = 24 << 30
"""Bytes of address space; libraries reserve a few of these GB and use little of them."""


class HangError(BaseException):
    """A case takes too long; nothing may catch this."""


def generator(seed: int, target: str, number: int) -> random.Random:
    """Return what draws a case: the same for the same seed, target and number."""
    return random.Random(f"{seed} {target} {number}")


@contextmanager
def limited() -> Iterator[None]:
    """Stop what takes more than SECONDS of processor time."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _hang(_number: int, _frame: FrameType | None) -> None:
    raise HangError(f"it takes more than {SECONDS:g} seconds of processor time")


@contextmanager
def prepared(target: Target) -> Iterator[Try]:
    """Make a target in a folder of its own, in memory where there is such a file system."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder, chdir(folder):
        yield target.make()


def try_case(target: Try, seed: int, name: str, number: int) -> tuple[str, str]:
    """Try a case; return what came out (`answered`, `refused`, `failed`), and the trace of a failure."""
    try:
        with limited():
            return outcome(target, generator(seed, name, number)), ""
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - a panic of Polars is no Exception
        return "failed", traceback.format_exc()


def work(seed: int, counts: dict[str, int], at: "Synchronized[int]", told: "Queue[tuple[str, object]]") -> None:
    """Try `counts` cases of each target; `at` holds the number of the present one."""
    signal.signal(signal.SIGPROF, _hang)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name, count in counts.items():
        told.put(("target", name))
        found: Counter[str] = Counter()
        with prepared(TARGETS[name]) as target:
            began = time.perf_counter()
            for number in range(count):
                at.value = number
                came, trace = try_case(target, seed, name, number)
                found[came] += 1
                if trace:
                    told.put(("failed", (name, number, trace)))
            told.put(("done", (name, dict(found), time.perf_counter() - began)))


def one(seed: int, name: str, number: int, say: Callable[[str], object]) -> bool:
    """Try a single case again; say what came out, and whether it is allowed."""
    signal.signal(signal.SIGPROF, _hang)
    with prepared(TARGETS[name]) as target:
        came, trace = try_case(target, seed, name, number)
    say(f"{name} {number}: {came}\n{trace}")
    return came != "failed"
