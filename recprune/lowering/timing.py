"""Times of the parts of a graph in ONNX Runtime, one thread."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

import numpy as np
import onnxruntime as ort

from recprune.lowering.probe import IDLE, Probe, idle
from recprune.lowering.probes import AXES, WHOLE, Grid, call, probes, whole
from recprune.lowering.session import Feed, open_session
from recprune.lowering.timed import clocked, median_call

Key = tuple[str, tuple[Any, ...]]
Progress = Callable[[int, int], None]
"""Is told how much is done, of how much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How long is measured."""

    rounds: int = 10
    """Each times every part once; the quietest one counts for each part."""
    seconds: float = 0.003
    """Given to a part in a round, in which the median of the calls is taken."""
    calls: int = 300
    """Calls of a whole network in a round, of which the percentiles are taken."""


def measure(
    batches: Sequence[int], grid: Grid, effort: Effort, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """Return, by batch size and part, where the part was measured (`at`) and microseconds per call (`us`).

    A part's time is that of a call with the part less that of a call that takes the same inputs, over the
    number of copies; each time is the median of many calls in the quietest of the rounds, in which all parts
    take turns: what other programs take from this one is no property of the part. Single parts have no 99th
    percentile: it would be the call's, and percentiles do not add up. A whole network has one (`whole`), and a
    median, which is more than its parts' together: in a network they find caches that others have used.
    """
    parts = probes(grid)
    timed: dict[Key, Probe] = {(p.part, p.at): p for p in parts} | {("call", ()): call()}
    timed |= {("idle", s): idle(s) for s in sorted({(), *(p.signature for p in parts), *_SINGLE.values()})}
    sessions, network = {key: _session(probe) for key, probe in timed.items()}, _Whole()
    found = {}
    for n, rows in enumerate(batches):
        feeds, quietest = {key: probe.feed(rows) for key, probe in timed.items()}, dict.fromkeys(timed, math.inf)
        network.begin(rows)
        for done in range(effort.rounds):
            for key, probe in timed.items():
                quietest[key] = min(quietest[key], _median(sessions[key], probe, feeds[key], effort))
            network.round(effort)
            if progress:
                progress(n * effort.rounds + done + 1, len(batches) * effort.rounds)
        found[str(rows)] = _parts(timed, quietest) | {"whole": network.found()}
    return found


_SINGLE = {f"input_{dtype}": (dtype,) * 8 for dtype in ("float32", "int64", "string")}
"""Inputs of the calls whose time, over eight, is that of one input."""


def _session(probe: Probe) -> ort.InferenceSession:
    once = ["CommonSubexpressionElimination"]  # it would make one of the copies
    return open_session(probe.model, without=once)


def _median(session: ort.InferenceSession, probe: Probe, feed: Feed, effort: Effort) -> float:
    """Return the median of the calls that fit into a round's time."""
    return median_call(clocked(session, "p_click" if probe.part == "call" else IDLE, feed), effort.seconds)


class _Whole:
    """A whole network, loaded anew in each round: where its memory lies moved its median by a tenth, in trials."""

    def __init__(self) -> None:
        self._probe, self._line = whole()

    def begin(self, rows: int) -> None:
        """Go on with another batch size."""
        self._feed = self._probe.feed(rows)
        self._medians: list[float] = []
        self._ratios: list[float] = []

    def round(self, effort: Effort) -> None:
        """Time calls of a new session."""
        timed = clocked(_session(self._probe), "p_click", self._feed)
        blocks = [np.percentile([timed() for _ in range(effort.calls)], [50, 99]) for _ in range(4)]
        self._medians.append(float(min(p50 for p50, _ in blocks)))
        self._ratios += [float(p99 / p50) for p50, p99 in blocks]

    def found(self) -> dict[str, Any]:
        """Return shape, features with strings as ids, the median of the rounds, and p99 by the least ratio to p50.

        The least, as other programs' work near a call raises the ratio as it pleases.
        """
        p50, strings = median(self._medians), [f.name for f in WHOLE if f.dtype == "string"]
        times = {"p50": round(p50, 3), "p99": round(p50 * min(self._ratios), 3)}
        return {"shape": self._line.shape.to_json(), "strings": strings, **times}


def _parts(timed: Mapping[Key, Probe], quietest: Mapping[Key, float]) -> dict[str, Any]:
    """Return every part's times by the places of its axes."""

    def over(key: Key, idle_key: Key, units: int) -> float:
        return round(max(0.0, quietest[key] - quietest[idle_key]) / units, 3)

    found: dict[str, Any] = {"call": {"at": {}, "us": round(quietest["call", ()], 3)}}
    for part, inputs in _SINGLE.items():
        found[part] = {"at": {}, "us": over(("idle", inputs), ("idle", ()), len(inputs))}
    for part in [p for p in AXES if p not in found]:
        places = [at for name, at in timed if name == part]
        axes = [sorted({at[i] for at in places}) for i in range(len(AXES[part]))]
        probes_at = [(at, timed[part, at]) for at in product(*axes)]
        values = [over((part, at), ("idle", probe.signature), probe.units) for at, probe in probes_at]
        found[part] = {"at": dict(zip(AXES[part], axes, strict=True)), "us": _nested(values, axes)}
    return found


def _nested(values: list[float], axes: Sequence[Sequence[int]]) -> Any:
    """Return values in order as nested lists: one level per axis, a single number without any."""
    if len(axes) < 2:
        return values if axes else values[0]
    width = len(values) // len(axes[0])
    return [_nested(values[i : i + width], axes[1:]) for i in range(0, len(values), width)]
