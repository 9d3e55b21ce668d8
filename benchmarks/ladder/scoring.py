"""Scoring on one thread: `python -m benchmarks.ladder.scoring [NETWORK …] [--batch 128] [--seconds 3]`.

The promoted bundle, pruned and in the fastest way for this machine, beside the fp32 export of its own dense network,
raw values in; and without the look-ups, rows of the table in, both beside the same networks in PyTorch, eager and
compiled, in inference mode. All in one process by turns, every call with other rows.

Legend: B rows of a call, F features read, Q numbers, V vectors, D embedding width.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np
import onnxruntime as ort
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.ladder.figures import Times, Work, by_turns, ratio, use_cores
from benchmarks.ladder.large import DAY, MODELS, Place, make_events, make_model
from benchmarks.ladder.networks import TITLES
from benchmarks.ladder.table import Row, show
from recprune.data.features import FeatureSet, encode
from recprune.data.partition import open_partition
from recprune.data.vocabulary import Vocabulary
from recprune.files import read_json
from recprune.lowering.graph import Network, build_graph
from recprune.lowering.inputs import raw_values
from recprune.lowering.lowering import Lowering
from recprune.lowering.ranges import input_ranges
from recprune.lowering.ready import ready_values
from recprune.lowering.session import feed, open_session
from recprune.model.checkpoint import load_lines
from recprune.model.line import Line
from recprune.serving.scorer import Scorer

IDS, ROWS, BATCHES, SECONDS = 1_000_000, 200_000, (1, 128, 1024), 2.0
DIFFERENT, CALLS = 64, 16
"""Batches that are scored one after the other, and calls of a turn."""
OURS, PRUNED, DENSE, API = "promoted", "pruned, fp32", "dense export", "promoted, by the scorer"
EAGER = {"dense": "torch eager, dense", "served": "torch eager, pruned"}
COMPILED = {"dense": "torch.compile, dense", "served": "torch.compile, pruned"}
NO_COMPILER = "torch.compile needs a C++ compiler, and there is none"


class Peer(nn.Module):
    """A network of ours as PyTorch has it: rows of the table and raw numbers in, probabilities out."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        shape, reading = line.shape, line.shape.reading
        self.interacts, self.wide = bool(len(reading.first)), None
        self.table = nn.Embedding.from_pretrained(line.weights["embedding"])
        mean, deviation = line.scale()
        self.register_buffer("mean", mean.float())
        self.register_buffer("deviation", deviation.float())
        places = reading.columns
        for name, index in (("features", reading.features), ("first", reading.first), ("second", reading.second)):
            self.register_buffer(name, index)
        self.register_buffer("columns", torch.zeros(0, dtype=torch.int64) if places is None else places)
        self.every_feature = len(reading.features) == len(shape.categorical)
        self.every_column = places is None
        self.bottom = _tower(line, "bottom") if shape.numeric and 0 in reading.vectors else None
        self.top, self.count = _tower(line, "top"), shape.counts()["columns"]
        if shape.family == "deepfm":
            self.wide = _layer(line, "wide")

    def forward(self, rows: Tensor, numbers: Tensor) -> Tensor:
        """Return probabilities (B,) of rows (B, F) and numbers (B, Q)."""
        vectors = self.table(rows if self.every_feature else rows[:, self.features])  # (B, V, D)
        if self.bottom is not None:
            missing = torch.isnan(numbers)
            z = (torch.sign(numbers) * torch.log1p(torch.abs(numbers)) - self.mean) / self.deviation
            z = torch.where(missing, 0.0, z).clamp(-8.0, 8.0)
            first = self.bottom(torch.cat([z, missing.float()], dim=1))
            vectors = torch.cat([first.unsqueeze(1), vectors], dim=1)
        x = vectors.flatten(1)
        columns = x = x if self.every_column else x[:, self.columns]
        if self.interacts:
            products = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.first, self.second]
            x = torch.cat([columns, products], dim=1)
        logit = self.top(x) if self.wide is None else self.wide(x) + self.top(columns)
        return torch.sigmoid(logit.squeeze(1))


def _tower(line: Line, part: str) -> nn.Sequential:
    count = len(getattr(line.shape, part)) + 1
    layers = [_layer(line, f"{part}.{i}") for i in range(count)]
    rectified = [each for layer in layers[:-1] for each in (layer, nn.ReLU())]
    return nn.Sequential(*rectified, layers[-1])


def _layer(line: Line, name: str) -> nn.Linear:
    weight = line.weights[f"{name}.weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight, line.weights[f"{name}.bias"]
    return layer


def compiler() -> str | None:
    """Return the C++ compiler that torch.compile would use, if there is one."""
    return shutil.which(os.environ.get("CXX", "g++"))


@dataclass(frozen=True, slots=True)
class Contest:
    """A day's rows, its bundle, and the networks that it is compared with."""

    bundle: Path
    networks: Mapping[str, Network]
    """`dense` and `served`."""
    raw: pl.DataFrame
    """Raw values, a column per input."""
    events: FeatureSet
    """The same rows, ids looked up."""

    @classmethod
    def of(cls, place: Place) -> Self:
        """Read the day of a workspace."""
        folder = place.folder
        partition = open_partition(folder / "data/events" / DAY)
        lines, _ = load_lines(folder / "models" / DAY / "pruned")
        known = Vocabulary.load(folder / "vocab" / DAY, partition.schema)
        events = partition.scan().tail(DIFFERENT * max(BATCHES)).collect()
        networks = {name: Network(line, known, partition.schema) for name, line in lines.items()}
        raw = raw_values(events, partition.schema)
        return cls(folder / "bundles" / DAY, networks, raw, encode(events, partition.schema, known))

    def by_raw_values(self, batch: int) -> dict[str, Work]:
        """Return who takes raw values."""
        dense = self.networks["dense"]
        graph = build_graph(dense.line, dense.vocabulary, dense.schema, 0.0)
        sessions = {OURS: open_session(self.bundle / "model.onnx"), DENSE: open_session(graph.SerializeToString())}
        every: dict[str, Callable[[Any], object]] = {n: partial(s.run, ["p_click"]) for n, s in sessions.items()}
        calls = [feed(self.raw[place]) for place in _places(len(self.raw), batch)]
        return {name: _turns(call, calls) for name, call in {**every, API: Scorer(self.bundle).score}.items()}

    def by_rows(self, batch: int) -> dict[str, Work]:
        """Return who takes rows of the table and raw numbers; networks in fp32 are seen to agree."""
        torch.compiler.reset()  # beyond eight networks and sizes what is compiled would quietly be eager
        parts = [self.events.rows(place) for place in _places(len(self.events), batch)]
        lowering = Lowering(**read_json(self.bundle / "manifest.json")["lowering"])
        ways = {OURS: ("served", lowering), PRUNED: ("served", replace(lowering, layers="fp32", rows="fp32"))}
        found, sessions = dict[str, Work](), dict[str, ort.InferenceSession]()
        for name, (which, way) in {**ways, DENSE: ("dense", None)}.items():
            network = self.networks[which]
            given = [ready_values(part, network.line, network.schema) for part in parts]
            sessions[name] = self._opened(network.ready(), way)
            found[name] = _turns(partial(sessions[name].run, ["p_click"]), given)
        for which, name in (("dense", DENSE), ("served", PRUNED)):
            line, schema = self.networks[which].line, self.networks[which].schema
            peer, given = Peer(line).eval(), [_tensors(part, line) for part in parts]
            expected = sessions[name].run(["p_click"], ready_values(parts[0], line, schema))[0]
            torch.testing.assert_close(peer(*given[0]), torch.from_numpy(expected), atol=1e-4, rtol=1e-3)
            found[EAGER[which]] = _turns(partial(_call, peer), given)
            if compiler():
                found[COMPILED[which]] = _turns(partial(_call, torch.compile(peer, dynamic=False)), given)
        return found

    def _opened(self, network: Network, way: Lowering | None) -> ort.InferenceSession:
        ranges = None
        if way is not None and way.layers == "int8":
            with tempfile.TemporaryDirectory() as folder:
                ranges = input_ranges(network, ready_values(self.events, network.line, network.schema), Path(folder))
        graph = build_graph(network.line, network.vocabulary, network.schema, 0.0, way, ranges)
        return open_session(graph.SerializeToString())


@torch.inference_mode()
def _call(module: Callable[..., Tensor], given: tuple[Tensor, Tensor]) -> Tensor:
    return module(*given)


def _tensors(part: FeatureSet, line: Line) -> tuple[Tensor, Tensor]:
    ids = torch.from_numpy(np.array(part.ids)).long() + line.offsets()
    return ids, torch.from_numpy(np.array(part.numbers))


def _places(rows: int, batch: int) -> list[NDArray[np.intp]]:
    return list(np.arange(DIFFERENT * batch).reshape(DIFFERENT, batch) % rows)


def _turns(call: Callable[[Any], object], given: Sequence[Any]) -> Work:
    """Return a turn of calls, each with other rows than the one before."""

    def work(turn: int) -> None:
        for n in range(CALLS):
            call(given[(turn * CALLS + n) % len(given)])

    return work


def figures(name: str, batch: int, raw: Mapping[str, Times], rows: Mapping[str, Times]) -> list[Row]:
    """Return the rows of a table."""
    rows_a_call = "1 row" if batch == 1 else f"{batch:,} rows"
    what = f"{TITLES[name]}, {rows_a_call} a call, rows/s"
    pairs = [
        ("raw values in: promoted bundle against the dense export", raw, OURS, DENSE),
        ("raw values in: promoted by the scorer against its session alone", raw, API, OURS),
        ("ids looked up: promoted against the dense export", rows, OURS, DENSE),
        ("ids looked up: pruned, fp32, against the dense export", rows, PRUNED, DENSE),
    ]
    for peers in (EAGER, COMPILED):
        pairs += [
            (f"ids looked up: promoted against {peers['dense']}", rows, OURS, peers["dense"]),
            (f"ids looked up: promoted against {peers['served']}", rows, OURS, peers["served"]),
            (f"ids looked up: pruned, fp32, against {peers['served']}", rows, PRUNED, peers["served"]),
            (f"ids looked up: dense export against {peers['dense']}", rows, DENSE, peers["dense"]),
        ]
    return [_row(f"{what}, {told}", times, ours, peer, batch) for told, times, ours, peer in pairs]


def _row(what: str, times: Mapping[str, Times], ours: str, peer: str, batch: int) -> Row:
    if peer not in times:
        return Row(f"{what}: not measured, {NO_COMPILER}", _speed(times[ours], batch), None, None, None, "–")
    speeds = (_speed(times[ours], batch), _speed(times[peer], batch))
    return Row(what, *speeds, None, ratio(times, ours, peer), "–")


def _speed(times: Times, batch: int) -> float:
    return CALLS * batch / median(times.wall)


def rungs(
    names: Sequence[str] = (), batches: Sequence[int] = BATCHES, seconds: float = SECONDS, *,
    ids: int = IDS, rows: int = ROWS,
) -> list[Row]:  # fmt: skip
    """Measure; returns the rows of the ladder.

    Args:
        names: of the networks; all if none is given.
        batches: rows of a call.
        seconds: for each contender and size of a call, about.
        ids: rows of the embedding table.
        rows: events of the day.
    """
    use_cores(1)
    found = list[Row]()
    with tempfile.TemporaryDirectory() as folder:
        place = make_events(Path(folder), ids, rows)
        for name in names or MODELS:
            make_model(place, name)
            found += compare(place, name, batches, seconds)
    return found


def compare(place: Place, name: str, batches: Sequence[int], seconds: float) -> list[Row]:
    """Export the day of a workspace and let all score its rows by turns."""
    place.run("export")
    contest, found = Contest.of(place), list[Row]()
    for batch in batches:
        raw = by_turns(contest.by_raw_values(batch), seconds)
        found += figures(name, batch, raw, by_turns(contest.by_rows(batch), seconds))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(MODELS)}; all if none is given")
    parser.add_argument("--batch", type=int, action="append", help="rows of a call; may be given several times")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each contender, about")
    parser.add_argument("--ids", type=int, default=IDS, help="rows of the embedding table")
    given = parser.parse_args()
    if unknown := set(given.networks) - set(MODELS):
        parser.error(f"{', '.join(sorted(unknown))}: networks are {', '.join(MODELS)}")
    show(rungs(given.networks, given.batch or BATCHES, given.seconds, ids=given.ids), "scoring, one thread")


if __name__ == "__main__":
    main()
