"""Estimated against measured time of carved networks: `python benchmarks/cost_table.py [COSTS]`.

COSTS is a folder of cost tables (default `costs`); this machine's is measured if it is not there (a minute).
Networks as for Complete Journey: 15 categorical features, 10 of them strings, 2 numbers, D 16. Their ids are
drawn at random from 10,000 each, so that no look-up is spared by popular ids.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from rich.console import Console
from rich.table import Table

from recprune.data.schema import Feature, Schema, ids, number
from recprune.data.vocabulary import Vocabulary
from recprune.lowering.cost_table import USUAL, cost_table, load_costs
from recprune.lowering.graph import build_graph
from recprune.model.line import new_line
from recprune.model.shape import Shape, with_every_input
from recprune.progress import Progress
from recprune.pruning.time_cost import MeasuredTime

STRINGS, INTS, IDS, BATCHES, ROUNDS, CALLS = 10, 5, 10_000, (1, 128), 20, 200
SCHEMA = Schema(
    label="label",
    time="time",
    key=(),
    features=(
        *(ids(f"n{i}", "int64") for i in range(INTS)),
        *(ids(f"s{i}") for i in range(STRINGS)),
        *(number(f"x{i}") for i in range(2)),
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A network and the share of its inputs of each sort that are left."""

    name: str
    columns: float
    pairs: float
    top: tuple[int, ...]
    vectors: int = 16
    family: str = "dlrm"


CASES = (
    Case("dense", 1, 1, (256, 128, 64)),
    Case("uniform", 1, 1, (64, 32, 16)),
    Case("half the inputs", 0.5, 0.5, (128, 64, 32)),
    Case("a quarter of the inputs", 0.25, 0.25, (128, 64, 32)),
    Case("columns alone", 0.4, 0, (96, 48, 16)),
    Case("pairs alone", 0, 0.5, (48, 32, 16)),
    Case("widths between", 0.3, 0.1, (87, 41, 19)),
    Case("half the features", 0.3, 0.2, (64, 32, 16), 8),
    Case("three features", 0.5, 1, (16, 16, 16), 4),
    Case("dcn", 0.5, 0, (128, 64, 32), 16, "dcn"),
    Case("deepfm", 0.5, 0.3, (128, 64, 32), 16, "deepfm"),
    Case("autoint", 0.5, 0, (128, 64, 32), 8, "autoint"),
)


def main() -> None:
    """Print a table for each batch size."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "costs")
    with Progress("rounds measured", USUAL.rounds * len(BATCHES)) as progress:
        file = cost_table(folder, BATCHES, progress=lambda done, _: progress.to(done))
    costs = load_costs(file)
    shapes = {case.name: shape_of(case) for case in CASES}
    sessions = {name: session(shape) for name, shape in shapes.items()}
    for batch in BATCHES:
        compare(shapes, measure(sessions, batch), costs, batch)


def compare(
    shapes: Mapping[str, Shape], measured: Mapping[str, tuple[float, float]], costs: dict[str, Any], batch: int
) -> None:
    """Print estimates beside measurements."""
    median, high = MeasuredTime(costs, batch, "p50", strings()), MeasuredTime(costs, batch, "p99", strings())
    table = Table("network", "reads", "p50 estimated", "measured", "off", "p99 estimated", "measured", "parts")
    table.title = f"microseconds a call of {batch} rows, {costs['cpu']}, ONNX Runtime {costs['onnxruntime']}"
    for name, shape in shapes.items():
        has, (p50, p99) = shape.counts(), measured[name]
        estimate, late = (1000 * cost(shape, has) for cost in (median, high))
        reads = f"{has['columns']} + {has['pairs']} of {has['vectors']}"
        parts = " + ".join(f"{1000 * us:.0f}" for us in median.spent(shape).values())
        off = f"{100 * (estimate / p50 - 1):+.0f} %"
        table.add_row(name, reads, f"{estimate:.1f}", f"{p50:.1f}", off, f"{late:.1f}", f"{p99:.1f}", parts)
    table.caption = f"parts: {', '.join(median.spent(shapes['dense']))}"
    Console(width=150).print(table)


def shape_of(case: Case) -> Shape:
    """Return the case's network; inputs are drawn at random, each vector kept is read."""
    names = [f.name for f in SCHEMA.categorical]
    attention = int(case.family == "autoint")
    shape = with_every_input(
        Shape(
            categorical=tuple(names), numeric=("x0", "x1"), embedding=16, bottom=(32,), top=case.top, inputs=(),
            family=case.family, cross=2 * int(case.family == "dcn"), attention=attention, heads=1 + attention,
        )
    )  # fmt: skip
    kept = [0, *(1 + i * 15 // (case.vectors - 1) for i in range(case.vectors - 1))]
    may = [i for i in shape.inputs if set(shape.vectors_of(i)) <= set(kept)]
    columns, pairs = [i for i in may if i < shape.columns], [i for i in may if i >= shape.columns]
    draw = np.random.default_rng(0)
    inputs = [draw.permutation(part)[: round(share * len(part))].tolist()
              for part, share in ((columns, case.columns), (pairs, case.pairs))]  # fmt: skip
    return replace(
        shape, inputs=tuple(sorted([*inputs[0], *inputs[1]])), attended=tuple(kept) if shape.attended else ()
    )


def session(shape: Shape) -> ort.InferenceSession:
    """Return the served graph of an untrained network."""
    vocabulary = Vocabulary(SCHEMA.categorical, {f.name: known(f) for f in SCHEMA.categorical})
    model = build_graph(new_line(shape, vocabulary.sizes(), 0), vocabulary, SCHEMA, 0.0).SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def known(feature: Feature) -> pl.DataFrame:
    """Return a feature's ids and rows."""
    n = pl.int_range(IDS, eager=True)
    id_ = n if feature.dtype == "int64" else pl.select("id " + n.cast(pl.String)).to_series()
    return pl.DataFrame({"id": id_, "count": n, "row": (n + 1).cast(pl.Int32)})


def measure(sessions: Mapping[str, ort.InferenceSession], batch: int) -> dict[str, tuple[float, float]]:
    """Return median and 99th percentile of each network's calls, each in its quietest round, in microseconds."""
    draw = np.random.default_rng(1)
    feed: dict[str, Any] = {f.name: draw.standard_normal(batch, np.float32) for f in SCHEMA.numeric}
    for feature in SCHEMA.categorical:
        drawn = draw.integers(0, IDS, batch)
        feed[feature.name] = drawn if feature.dtype == "int64" else np.array([f"id {i}" for i in drawn], object)
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in sessions}
    for _ in range(ROUNDS):
        for name, found in sessions.items():
            taken = [once(found, feed) for _ in range(CALLS)]
            p50, p99 = np.percentile(taken, [50, 99])
            rounds[name].append((float(p50), float(p99)))
    return {name: (min(p50 for p50, _ in found), min(p99 for _, p99 in found)) for name, found in rounds.items()}


def once(found: ort.InferenceSession, feed: dict[str, Any]) -> float:
    """Return the microseconds of a call, of which other programs take none."""
    start = time.thread_time_ns()
    found.run(["p_click"], feed)
    return (time.thread_time_ns() - start) / 1000


def strings() -> list[str]:
    """Name the features whose ids are strings."""
    return [f.name for f in SCHEMA.categorical if f.dtype == "string"]


if __name__ == "__main__":
    main()
