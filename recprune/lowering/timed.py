"""Times of models that take turns, so that noise hits them alike."""

import time
from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from recprune.lowering.session import Feed

SECONDS = 0.4
"""Of calls, all models together."""
FEWEST = 12


def interleaved(
    sessions: Mapping[str, ort.InferenceSession], calls: Mapping[str, Feed], count: int
) -> dict[str, dict[str, float]]:
    """Return by model median and 99th percentile of a call, microseconds a row.

    Args:
        sessions: the models.
        calls: what each is called with.
        count: rows of a call.
    """
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    outputs = {name: [session.get_outputs()[0].name] for name, session in sessions.items()}
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(next(iter(taken.values()))) < FEWEST:
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(outputs[name], calls[name])
            taken[name].append(time.perf_counter() - start)
    found = {}
    for name, seconds in taken.items():
        middle, high = np.percentile(np.array(seconds[2:]) * 1e6 / count, [50, 99])
        found[name] = {"p50": round(float(middle), 3), "p99": round(float(high), 3)}
    return found
