"""Latency of bundles: calls interleaved in one process, median and 99th percentile."""

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from recprune.serving.scorer import Scorer

Columns = Mapping[str, NDArray[Any]]


def measure_latency(
    scorers: Mapping[str, Scorer],
    columns: Columns,
    batches: Sequence[int],
    repeats: int,
    *,
    own: Mapping[str, Columns] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return microseconds per call for each scorer and batch size; a call is one request where the inputs allow it.

    Args:
        scorers: what is compared; their calls alternate, so that noise hits them alike.
        columns: rows to draw batches from, repeated if there are fewer than a batch.
        batches: batch sizes.
        repeats: timed calls each, after a tenth as many untimed ones.
        own: columns of a scorer that takes others.
    """
    rows = len(next(iter(columns.values())))
    latency: dict[str, dict[str, dict[str, float]]] = {name: {} for name in scorers}
    for size in batches if rows else ():
        index = np.resize(np.arange(rows), size)
        calls = {name: _batch(scorer, own.get(name, columns), index) for name, scorer in scorers.items()}
        seconds: dict[str, list[float]] = {name: [] for name in scorers}
        for call in range(repeats + repeats // 10 + 1):
            for name, scorer in scorers.items():
                start = time.perf_counter()
                scorer.score(calls[name])
                if call > repeats // 10:
                    seconds[name].append(time.perf_counter() - start)
        for name, taken in seconds.items():
            median, high = np.percentile(np.array(taken) * 1e6, [50, 99])
            latency[name][str(size)] = {"p50_us": float(median), "p99_us": float(high)}
    return {"latency": latency, "threads": 1, "onnxruntime": ort.__version__}


def _batch(scorer: Scorer, columns: Columns, index: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    return {n: v[index[:1] if n in scorer.request_inputs else index] for n, v in columns.items()}
