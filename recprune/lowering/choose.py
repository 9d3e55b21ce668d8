"""Which way of writing a network down is fastest: measured on this machine, once for networks of the same sizes."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime as ort
import polars as pl

from recprune.data.schema import Schema
from recprune.errors import RecpruneError
from recprune.files import read_json, write_json
from recprune.lowering.cost_table import cpu_name
from recprune.lowering.families import APART
from recprune.lowering.graph import Network, build_graph
from recprune.lowering.inputs import of_request
from recprune.lowering.interaction import DENSE_PAIRS, usual_lowering
from recprune.lowering.lowering import Columns, Lowering, Pairs, Precision, Rows
from recprune.lowering.ready import ReadyRows
from recprune.lowering.session import Feed, feed, open_session
from recprune.lowering.timed import clocked, median_call
from recprune.model.shape import Shape

FORMAT = 1
IDS = 1000
"""Ids per feature in the models that are timed, so that they are built at once. Ways differ in what comes after the
look-ups; what rows in 8 bits spare the caches of a large table is not counted."""
ROUNDS, SECONDS = 7, 0.01
"""Each round times every way, so long each; the quietest round counts."""
EQUAL = 1.10
"""Times that differ by less are equal; then the smaller file is taken, the embedding table counting most."""
STEADY = 1.05
"""So much faster counts the way of the network before, which has nearly the same sizes: a choice that noise may turn
every night would change most bytes of the file, and what a call takes with them."""

Times = Mapping[str, Mapping[str, float]]
"""By way and batch size the median microseconds of a call."""


def ways(shape: Shape) -> list[Lowering]:
    """Return the ways worth measuring: every layout in fp32; the other precisions come with the best one."""
    columns: list[Columns] = ["picked"]
    if shape.family in APART and shape.reading.columns is not None:
        columns.append("whole")
    pairs, products = len(shape.reading.first), list[Pairs](["gathered"])
    if pairs:
        many = pairs > 4 * DENSE_PAIRS * len(shape.reading.vectors)
        products = ["square", "whole"] if many else ["gathered", "square", "whole"]
    return [Lowering(columns=c, pairs=p) for c, p in product(columns, products)]


def precise_ways(layout: Lowering) -> list[Lowering]:
    """Return a layout in every precision."""
    layers, rows = get_args(Precision), get_args(Rows)
    return [replace(layout, layers=one, rows=other) for one, other in product(layers, rows)]


def ranked(network: Network, rows: pl.DataFrame, batches: Sequence[int], file: Path) -> tuple[list[Lowering], Times]:
    """Return the ways of writing a network down, the fastest first, and what was measured.

    By the geometric mean of a call's times over the batch sizes. Networks of the same sizes are measured once:
    the file keeps the times, so that a step that is run again chooses the same. Layers that take their scales from
    the call are measured and not among the ways: a row's probability would depend on the rows that it is called with.

    Args:
        network: what is written down.
        rows: raw feature values, of which the calls are made; one at least.
        batches: rows of the calls that are served.
        file: keeps what was measured on this machine, with this version of ONNX Runtime.
    """
    about = _about(network, batches)
    key, kept = _key(about), load_times(file)
    every = ways(network.line.shape)
    if not _complete(kept["networks"].get(key), network.line.shape):
        small, before = _small(network), _before(kept["networks"], about)
        calls = {n: _call(network.schema, rows, n) for n in batches}
        times = measure(small, every, calls)
        layout = _fastest(every, times, before.get("layout"))[0]
        times |= measure(small, precise_ways(layout), calls)  # the layout again, beside what it competes with
        first = smallest_of_equals(_served(every, layout), times, before.get("first"))[0]
        told = {"layout": str(layout), "before": before.get("first"), "first": str(first)}
        kept["networks"][key] = {"about": about, **told, "us": times}
        write_json(file, kept)
    found: Times = kept["networks"][key]["us"]
    layout = next(way for way in every if str(way) == kept["networks"][key]["layout"])
    return _fastest(_served(every, layout), found), found


def way_before(network: Network, batches: Sequence[int], file: Path) -> str | None:
    """Return the way of the network that was measured before this one, of the same family but for its sizes."""
    before = load_times(file)["networks"].get(_key(_about(network, batches)), {}).get("before")
    return None if before is None else str(before)


def _before(networks: Mapping[str, dict[str, Any]], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was found last of a network that differs in its sizes alone; nothing if none was."""
    same = ("family", "embedding", "attention", "cross", "batches")
    alike = [n for n in networks.values() if all(n.get("about", {}).get(name) == about[name] for name in same)]
    return alike[-1] if alike else {}


def _served(every: Sequence[Lowering], layout: Lowering) -> list[Lowering]:
    """Return the ways that may serve: layouts, and one of them in every precision that does not depend on the call."""
    return [*every, *(way for way in precise_ways(layout)[1:] if way.layers != "dynamic_int8")]


def _key(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def load_times(file: Path) -> dict[str, Any]:
    """Read what was measured; nothing if there is no file.

    Raises:
        RecpruneError: it is of another format, or holds what is no time.
        DamagedArtefactError: it cannot be read.
    """
    if not file.exists():
        return {"format": FORMAT, "unit": "us", "networks": {}}
    kept = read_json(file)
    way_out = "move the file away, and everything is measured anew (seconds)."
    if not isinstance(kept, dict) or kept.get("format") != FORMAT or not isinstance(kept.get("networks"), dict):
        raise RecpruneError(f"{file} holds no times of format {FORMAT}; {way_out}")
    for key, network in kept["networks"].items():
        times = network.get("us") if isinstance(network, dict) else None
        if not isinstance(times, dict) or not all(map(_are_times, times.values())):
            raise RecpruneError(f"{file}: network {key} has no times above 0 for each way and batch size; {way_out}")
    return kept


def _are_times(us: object) -> bool:
    return isinstance(us, dict) and bool(us) and all(isinstance(t, int | float) and t > 0 for t in us.values())


def _complete(found: dict[str, Any] | None, shape: Shape) -> bool:
    """Say whether a network was measured in all the ways that there are now."""
    if found is None:
        return False
    layout = next((way for way in ways(shape) if str(way) == found.get("layout")), None)
    wanted = [*ways(shape), *precise_ways(layout)] if layout else []
    return bool(wanted) and all(str(way) in found["us"] for way in wanted)


def lowerings_file(folder: Path) -> Path:
    """Return where the times of this machine are kept."""
    return folder / f"{cpu_name()}-{ort.__version__}-lowerings.json"


def measure(network: Network, every: Sequence[Lowering], calls: Mapping[int, Feed]) -> dict[str, dict[str, float]]:
    """Return by way and batch size the median microseconds of a call in the quietest round."""
    ranges = {name: (-1.0 if name.endswith(".0") else 0.0, 1.0) for name, _, _ in network.line.shape.layers()}
    sessions = {}
    for way in every:
        model = build_graph(network.line, network.vocabulary, network.schema, 0.0, way, ranges)
        sessions[str(way)] = open_session(model.SerializeToString())
    found: dict[str, dict[str, float]] = {str(way): {} for way in every}
    for n, call in calls.items():
        for name in list(sessions) * ROUNDS:
            taken = median_call(clocked(sessions[name], "p_click", call), SECONDS)
            found[name][str(n)] = round(min(taken, found[name].get(str(n), math.inf)), 3)
    return found


def _fastest(every: Sequence[Lowering], times: Times, before: str | None = None) -> list[Lowering]:
    return sorted(every, key=lambda way: _slow(way, times, before))


def _slow(way: Lowering, times: Times, before: str | None) -> float:
    """Return the mean logarithm of a way's times; that of the network before counts as faster."""
    us = times[str(way)].values()
    return sum(map(math.log, us)) / len(us) - (math.log(STEADY) if str(way) == before else 0.0)


def smallest_of_equals(left: Sequence[Lowering], times: Times, before: str | None = None) -> list[Lowering]:
    """Put the smallest first of those that are as fast as the fastest; the others follow in order of time.

    Args:
        left: ways.
        times: of each.
        before: the way of the network before, if there was one.
    """
    ordered = _fastest(left, times, before)
    limit = _slow(ordered[0], times, before) + math.log(EQUAL)
    equals = sorted((way for way in ordered if _slow(way, times, before) <= limit), key=_bits)
    return [*equals, *(way for way in ordered if way not in equals)]


def _bits(way: Lowering) -> int:
    """Rank a way by its bytes: the embedding table is most of them."""
    return 2 * (way.rows == "fp32") + (way.layers == "fp32")


def _about(network: Network, batches: Sequence[int]) -> dict[str, Any]:
    """Return all that the times depend on."""
    shape, schema = network.line.shape, network.schema
    read = {shape.vectors[v] for v in shape.reading.vectors}
    request = {f.name for f in of_request(schema)}
    return {
        "family": shape.family,
        "counts": shape.counts(),
        "embedding": shape.embedding,
        "attention": [shape.attention, shape.heads],
        "cross": shape.cross,
        "inputs": [[f.dtype, f.name in request, f.name in read] for f in schema.features],
        "usual": str(usual_lowering(shape)),
        "batches": list(batches),
    }


def _small(network: Network) -> Network:
    """Return the network with few ids: times of its parts are the same, and it is built at once."""
    line, vocabulary = network.line, network.vocabulary
    if isinstance(vocabulary, ReadyRows):
        return network
    tables = {name: table.filter(pl.col("row") <= IDS) for name, table in vocabulary.tables.items()}
    starts, sizes = line.offsets().tolist(), [min(size, IDS + 1) for size in line.sizes]
    kept = np.concatenate([np.arange(start, start + n) for start, n in zip(starts, sizes, strict=True)])
    weights = {**line.weights, "embedding": line.weights["embedding"][kept]}
    return Network(
        replace(line, sizes=tuple(sizes), weights=weights), replace(vocabulary, tables=tables), network.schema
    )


def _call(schema: Schema, rows: pl.DataFrame, count: int) -> Feed:
    return feed(rows[np.resize(np.arange(len(rows)), count)], {f.name for f in of_request(schema)})
