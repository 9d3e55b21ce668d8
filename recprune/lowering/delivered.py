"""Asked and delivered: the bundle's model against the dense network's fp32 export, calls interleaved.

Both take the same raw inputs: what is compared is what would be served.
"""

import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl

from recprune.lowering.graph import Network, build_graph
from recprune.lowering.inputs import of_request
from recprune.lowering.session import Feed, feed, model_bytes, open_session, written
from recprune.lowering.timed import interleaved

BATCHES = (1, 16, 128, 1024)
REQUEST = "served, one request"
FASTER = 0.95
"""Share of the dense network's time below which a file is called faster: less is noise."""
DIFFERENT = 16
"""Batches that take turns."""
PROFILED, PROFILED_ROWS = 48, 128
"""Calls that are profiled, and their rows."""


def compare(
    models: Mapping[str, Path],
    rows: pl.DataFrame,
    *,
    once: Mapping[str, Collection[str]] | None = None,
    sizes: Sequence[int] = BATCHES,
    loads: int = 1,
) -> dict[str, Any]:
    """Return for each model median and 99th percentile per batch size, and what the time is spent on.

    Args:
        models: by name.
        rows: raw feature values, of which the calls are made; one at least.
        once: by model the features that are given once for all rows; without any plain rows.
        sizes: rows of the calls.
        loads: how many times the models are loaded: where their memory lies moves a median by a tenth. The median of
            the loads' percentiles is returned.

    Returns:
        `us_per_row` by batch size, model and percentile; `spent` by model and section, microseconds a row at
        128 rows; `threads` and `onnxruntime`.
    """
    given = {name: frozenset((once or {}).get(name, ())) for name in models}
    fed = {n: _fed(calls(rows, n), given) for n in sizes}
    timed: dict[int, list[dict[str, dict[str, float]]]] = {n: [] for n in sizes}
    for _ in range(loads):
        with ThreadPoolExecutor() as pool:
            sessions = dict(zip(models, pool.map(open_session, models.values()), strict=True))
        for n in sizes:
            timed[n].append(interleaved(sessions, fed[n], n))
    del sessions
    profiled = fed.get(PROFILED_ROWS, {})
    spent = {name: _spent(models[name], batches, PROFILED_ROWS) for name, batches in profiled.items()}
    us_per_row = {str(n): _middle(times) for n, times in timed.items()}
    return {"us_per_row": us_per_row, "spent": spent, "threads": 1, "onnxruntime": ort.__version__}


def _fed(batches: Sequence[pl.DataFrame], once: Mapping[str, Collection[str]]) -> dict[str, list[Feed]]:
    """Return by model what it is called with; models that are given the same share it."""
    made = {given: [feed(batch, given) for batch in batches] for given in set(once.values())}
    return {name: made[given] for name, given in once.items()}


def _middle(times: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the medians of several measurements."""
    return {
        name: {kind: median(each[name][kind] for each in times) for kind in kinds} for name, kinds in times[0].items()
    }


def calls(rows: pl.DataFrame, count: int) -> list[pl.DataFrame]:
    """Return batches of rows one after the other, from the beginning again where there are no more."""
    places = np.arange(DIFFERENT * count).reshape(DIFFERENT, count) % len(rows)
    return [rows[place] for place in places]


def _spent(model: Path, fed: Sequence[Feed], count: int) -> dict[str, float]:
    """Return microseconds a row by section, from ONNX Runtime's profile: sums over nodes of the median call."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(model, Path(folder) / "profile")
        for n in range(PROFILED):
            session.run(["p_click"], fed[n % len(fed)])
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes.setdefault(event["name"], []).append(event["dur"])
    spent: dict[str, float] = {}
    for name, durations in nodes.items():
        section = section_of(name)
        spent[section] = spent.get(section, 0.0) + float(np.median(durations)) / count
    return {section: round(us, 3) for section, us in sorted(spent.items())}


def section_of(node: str) -> str:
    """Return what a node is for, by its name; ONNX Runtime keeps the name of one node where it joins several.

    >>> section_of("recprune/lookups/3_kernel_time"), section_of("fused recprune/layers/40/Relu_kernel_time")
    ('lookups', 'layers')
    >>> section_of("Transpose_token_3_kernel_time")
    'rest'
    """
    _, found, tail = node.partition("recprune/")
    return tail.split("/")[0] if found else "rest"


def deliver(
    dense: Network, served: Network, file: Path, rows: pl.DataFrame, batches: Sequence[int], folder: Path
) -> dict[str, Any]:
    """Return what the served network's file has and takes beside the dense network's fp32 export.

    Args:
        dense: the dense network.
        served: the served one.
        file: its model.
        rows: raw feature values; without any nothing is timed.
        batches: rows of the calls that are served.
        folder: where the dense network's model is written for the while.

    Returns:
        `facts` (weights, FLOPs, bytes), what `compare` returns, and `sparse`: whether the file is smaller than the
        dense export, or faster by a twentieth at a batch size that is served, plain rows on both sides.
    """
    model = build_graph(dense.line, dense.vocabulary, dense.schema, 0.0)
    with written(model, folder / ".dense") as plain:
        return _delivered(dense, served, {"dense": plain, "served": file}, rows, batches)


def _delivered(
    dense: Network, served: Network, files: Mapping[str, Path], rows: pl.DataFrame, batches: Sequence[int]
) -> dict[str, Any]:
    both = {"dense": dense.line, "served": served.line}
    facts = {
        "weights": {name: sum(line.weights[n].numel() for n in line.layer_names()) for name, line in both.items()},
        "FLOPs": {name: line.shape.flops() for name, line in both.items()},
        "bytes": {name: model_bytes(file) for name, file in files.items()},
    }
    request = {f.name for f in of_request(dense.schema)}
    once = {REQUEST: request} if request else {}
    files = {**files, **dict.fromkeys(once, files["served"])}
    sizes = sorted({*BATCHES, *batches})
    found = compare(files, rows, once=once, sizes=sizes) if len(rows) else {"us_per_row": {}}
    faster = len(rows) > 0 and is_faster(found["us_per_row"], batches)
    return {"facts": facts, **found, "sparse": faster or facts["bytes"]["served"] < facts["bytes"]["dense"]}


def is_faster(us_per_row: Mapping[str, Mapping[str, Mapping[str, float]]], batches: Sequence[int]) -> bool:
    """Say whether the served file is faster by a twentieth at a batch size that is served, both with plain rows.

    A request that is given once would make any file faster.
    """
    timed = [us_per_row[str(n)] for n in batches]
    return any(times["served"]["p50"] < FASTER * times["dense"]["p50"] for times in timed)


def asked_and_delivered(measured: Mapping[str, Any]) -> list[str]:
    """Return lines that say what `deliver` found."""
    lines = [
        f"{what}: {values['served']:,.0f} of the dense network's {values['dense']:,.0f} "
        f"({100 * values['served'] / values['dense']:.1f} %)"
        for what, values in measured["facts"].items()
    ]
    for batch, times in measured["us_per_row"].items():
        ours, dense = times["served"], times["dense"]
        lines.append(
            f"{batch} rows: {ours['p50']:.2f} µs a row (p99 {ours['p99']:.2f}), dense {dense['p50']:.2f} "
            f"(p99 {dense['p99']:.2f}): {dense['p50'] / ours['p50']:.2f} × as fast"
            + (f"; one request of them {times[REQUEST]['p50']:.2f} µs" if REQUEST in times else "")
        )
    if not measured["sparse"]:
        lines.append("the file is neither smaller than the dense network's nor faster: it is not called sparse.")
    return lines
