"""Times of calls: of one model by the thread's own clock, of several by the wall's, in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np
import onnxruntime as ort

from recprune.lowering.session import Feed

SECONDS = 0.25
"""Of calls, all models together."""
BLOCK, FEWEST = 10, 4
"""Calls of a model before it is another's turn: each finds its own weights in the caches, as where it serves alone; and
blocks of each model at least, the first of which is not counted."""


def interleaved(
    sessions: Mapping[str, ort.InferenceSession], calls: Mapping[str, Sequence[Feed]], count: int
) -> dict[str, dict[str, float]]:
    """Return by model median and 99th percentile of a call, microseconds a row.

    Args:
        sessions: the models.
        calls: what each is called with, in turn: rows that come again lie in the caches.
        count: rows of a call.
    """
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    outputs = {name: [session.get_outputs()[0].name] for name, session in sessions.items()}
    end, blocks = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end or blocks < FEWEST:
        for name, session in sessions.items():
            for call in range(blocks * BLOCK, (blocks + 1) * BLOCK):
                start = time.perf_counter()
                session.run(outputs[name], calls[name][call % len(calls[name])])
                taken[name].append(time.perf_counter() - start)
        blocks += 1
    found = {}
    for name, seconds in taken.items():
        middle, high = np.percentile(np.array(seconds[BLOCK:]) * 1e6 / count, [50, 99])
        found[name] = {"p50": round(float(middle), 3), "p99": round(float(high), 3)}
    return found


def clocked(session: ort.InferenceSession, output: str, call: Feed) -> Callable[[], float]:
    """Return a function that makes a call and returns its microseconds.

    The clock is the thread's own: waiting while other programs have the CPU is no property of a network, and
    a 99th percentile of wall time is little else on a busy machine (4 ms instead of 0.3, in a trial).
    """

    def once() -> float:
        start = time.thread_time_ns()
        session.run([output], call)
        return (time.thread_time_ns() - start) / 1000

    return once


def median_call(once: Callable[[], float], seconds: float) -> float:
    """Return the median of the calls that fit into a time, three at least, after two that are not counted."""
    first = min(once(), once())
    return median(once() for _ in range(max(3, int(1e6 * seconds / first))))
