"""Turns that share a load: what else runs on the machine slows all of them."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

Work = Callable[[int], None]
"""Does one turn's work; is given the turn's number."""


@dataclass(slots=True)
class Times:
    """Seconds of each turn: by the clock, and of the processors."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def by_turns(works: Mapping[str, Work], seconds: float, least: int = 3) -> dict[str, Times]:
    """Let each do a turn after the other, the first one apart, until each has had so many seconds on average.

    On a machine that others use too, only ratios of what was measured together mean something.
    """
    times, end = {name: Times() for name in works}, float("inf")
    turn = 0
    while turn <= least or time.perf_counter() < end:
        for name, work in works.items():
            wall, processor = time.perf_counter(), time.process_time()
            work(turn)
            if turn:  # the first turn finds caches cold and compiles kernels
                times[name].wall.append(time.perf_counter() - wall)
                times[name].processor.append(time.process_time() - processor)
        if not turn:
            end = time.perf_counter() + seconds * len(works)
        turn += 1
    return times


def ratio(times: Mapping[str, Times], name: str, other: str, kind: str = "wall") -> float:
    """Return the median over the turns of how many times as fast as another one it was."""
    ours, theirs = getattr(times[name], kind), getattr(times[other], kind)
    return statistics.median(b / a for a, b in zip(ours, theirs, strict=True))


def use_cores(threads: int | None = None) -> int:
    """Let torch compute with so many threads, as many as there are cores if none is said."""
    count = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(count)
    return count
