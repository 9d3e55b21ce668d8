"""What pruning is worth at inference: python benchmarks/inference.py FOLDER [SHAPE …].

Three shapes on a drifting simulated stream, each carved to three budgets, exported, and timed in ONNX Runtime on one
thread beside the fp32 export of its own dense network, raw values in, calls interleaved. What was trained is kept in
FOLDER and not trained again. NE is that of the files on the day after the last one learned, against the dense file's.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import polars as pl
from inference_tables import promised, split, table
from numpy.typing import NDArray
from onnx import TensorProto, helper
from rich.console import Console

from recprune.data.events import read_events
from recprune.data.features import encode
from recprune.data.ids import Admission
from recprune.data.schema import Schema
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.vocabulary import Vocabulary
from recprune.days import add_days
from recprune.files import write_json
from recprune.lowering.builder import Builder
from recprune.lowering.choose import ranked, ways
from recprune.lowering.delivered import calls, compare
from recprune.lowering.external import save_model
from recprune.lowering.graph import Network
from recprune.lowering.inputs import graph_inputs, of_request
from recprune.lowering.interaction import usual_lowering
from recprune.lowering.look_up import look_up
from recprune.lowering.lower import Lowered, lower
from recprune.lowering.lowering import Lowering, Precision
from recprune.lowering.parity import scores
from recprune.lowering.session import feed, model_bytes, open_session
from recprune.lowering.timed import interleaved
from recprune.metrics.intervals import paired
from recprune.metrics.scores import log_losses
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line, grow_rows, new_line
from recprune.model.shape import dense_shape
from recprune.model.threads import use_threads
from recprune.progress import Progress
from recprune.pruning.budget import budget_for
from recprune.pruning.carving import carve_to_ramp
from recprune.settings import Settings, read_settings
from recprune.steps.export import OBSERVED_ROWS, seen
from recprune.training.incremental import learn

FIRST = "2024-01-01"
DAYS, SETTLING = 24, 8
BUDGETS = (0.35, 0.14, 0.05)
CALIBRATING, LIMIT, LOADS = 5000, 0.001, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One shape of a network and the stream that it learns."""

    ids: int
    numbers: int
    embedding: int
    bottom: tuple[int, ...]
    top: tuple[int, ...]
    rows: int = 20_000
    """A day."""


CASES = {
    "criteo": Case(ids=26, numbers=13, embedding=16, bottom=(64,), top=(1024, 512, 256)),
    "shop": Case(ids=12, numbers=4, embedding=16, bottom=(32,), top=(256, 128, 64)),
    "feed": Case(ids=40, numbers=8, embedding=32, bottom=(64,), top=(512, 256, 128)),
}
"""26 ids and 13 numbers are Criteo's; the others are a small shop's ranking and a feed of many features."""


class Stream:
    """A simulated stream with int64 ids; half of the features are one per request."""

    def __init__(self, case: Case, settings: Settings) -> None:
        simulator = replace(
            settings.ingest.simulator, rows=case.rows, categorical=case.ids, numeric=case.numbers, ids=4000, hidden=64,
            informative=case.ids // 2, first_day=FIRST,
        )  # fmt: skip
        self._source = SimulatorSource(simulator)
        self._found = self._source.schema()
        features = [
            replace(f, dtype="int64" if f.dtype == "string" else f.dtype, per="request" if i % 2 else "row")
            for i, f in enumerate(self._found.features)
        ]
        self.schema = replace(self._found, features=tuple(features))
        self.plain = replace(self._found, features=tuple(replace(f, per="row") for f in features))

    def day(self, n: int) -> pl.DataFrame:
        """Return the events of a day, ids as hashes of 63 bits."""
        day = date.fromisoformat(add_days(FIRST, n))
        events = read_events(self._source.read(day), self._found, day, text=self._source.text).events
        names = [f.name for f in self.schema.categorical]
        return events.with_columns((pl.col(name).hash() // 2).cast(pl.Int64) for name in names)


def train(stream: Stream, settings: Settings, folder: Path) -> tuple[dict[str, Line], Vocabulary]:
    """Return dense and carved lines after the last day learned, and the vocabulary; kept in the folder."""
    vocabulary, lines = Vocabulary.empty(stream.schema), dict[str, Line]()
    if (folder / "vocabulary").exists():
        return load_lines(folder / "lines", FIRST)[0], Vocabulary.load(folder / "vocabulary", stream.schema)
    with Progress(folder.name, DAYS) as bar:
        for n in range(DAYS):
            events = stream.day(n)
            vocabulary = vocabulary.learn(events, Admission(settings.featurize.min_count))
            features = encode(events, stream.schema, vocabulary)
            if not lines:
                lines["dense"] = new_line(dense_shape(stream.schema, settings.model), vocabulary.sizes(), 1)
            for line in lines.values():
                grow_rows(line, vocabulary.sizes(), n)
                learn(line, features, settings.train, n)
            for share in BUDGETS if n >= DAYS - SETTLING else ():
                pruning = replace(settings.prune, budget=share)
                budget = budget_for(lines["dense"].shape, pruning, None)
                line = lines.get(str(share)) or lines["dense"].copy()
                step = min(n - (DAYS - SETTLING) + 1, pruning.carve_days)
                lines[str(share)], _ = carve_to_ramp(line, features, step, budget, pruning)
            bar.to(n + 1)
    save_lines(folder / "lines", FIRST, lines, {})
    vocabulary.save(folder / "vocabulary", FIRST)
    return lines, vocabulary


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that the measurements of a shape share."""

    stream: Stream
    lines: dict[str, Line]
    vocabulary: Vocabulary
    learned: pl.DataFrame
    """Raw rows of the last day learned."""
    unseen: pl.DataFrame
    """Those of the day after it; its first rows calibrate, the others judge."""
    folder: Path

    @property
    def inputs(self) -> list[str]:
        """Return the names of the features."""
        return [f.name for f in self.stream.schema.features]

    @property
    def judging(self) -> pl.DataFrame:
        """Return the rows by which NE and times are measured."""
        return self.unseen.tail(-CALIBRATING)

    def losses(self, file: Path) -> NDArray[np.float64]:
        """Return the log losses of a file on the rows that judge."""
        rows = self.judging.select(self.inputs)
        parts = [slice(start, start + 1000) for start in range(0, len(rows), 1000)]
        p = np.concatenate(list(scores(file, rows, parts))).astype(np.float64)
        return log_losses(self.judging["label"].to_numpy(), p)

    def write(self, name: str, line: Line, ways: Sequence[Lowering], schema: Schema) -> tuple[Path, Lowered]:
        """Write a line as a file by the first way whose rounding costs little enough."""
        network = Network(line, self.vocabulary, schema)
        rows = (self.unseen.head(CALIBRATING), self.learned.tail(OBSERVED_ROWS))
        half, observed = (seen(network, encode(each, schema, self.vocabulary)) for each in rows)
        lowered = lower(network, ways, half, observed, self.folder, prior=1.0, limit=LIMIT)
        save_model(lowered.model, self.folder / f"{name}.onnx")
        return self.folder / f"{name}.onnx", lowered


def measure(name: str, case: Case, settings: Settings, folder: Path) -> dict[str, Any]:
    """Return what every budget of a shape has and takes."""
    stream, files = Stream(case, settings), folder / name / "files"
    model = replace(settings.model, embedding=case.embedding, bottom=case.bottom, top=case.top)
    lines, vocabulary = train(stream, replace(settings, model=model), folder / name)
    files.mkdir(exist_ok=True)
    bench = Bench(stream, lines, vocabulary, stream.day(DAYS - 1), stream.day(DAYS), files)
    dense = fastest(bench)
    found = {str(share): carved(bench, str(share), dense, folder / "lowerings.json") for share in BUDGETS}
    return found | {"promises": promises(bench, dense)}


def fastest(bench: Bench) -> Path:
    """Return the dense network's fp32 export in its fastest layout, measured as everything else is."""
    line, files = bench.lines["dense"], dict[str, Path]()
    for n, way in enumerate(way for way in ways(line.shape) if way.exact):
        files[str(way)], _ = bench.write(f"dense-{n}", line, [way], bench.stream.plain)
    times = compare(files, bench.judging.select(bench.inputs), loads=LOADS)["us_per_row"]["128"]
    return files[min(files, key=lambda name: times[name]["p50"])]


def promises(bench: Bench, dense: Path) -> dict[str, Any]:
    """Return what the dense network takes in ways that are called sparse elsewhere, and in 8 bits."""
    line, way = bench.lines["dense"].copy(), usual_lowering(bench.lines["dense"].shape)
    for name in [n for n in line.layer_names() if n.endswith("weight")]:
        weight = line.weights[name]
        line.weights[name] = weight * (weight.abs() > weight.abs().flatten().quantile(0.9))
    files = {"dense": dense}
    files["90 % zeros"], _ = bench.write("zeros", line, [way], bench.stream.plain)
    files["90 % zeros, sparse_initializer"] = as_sparse(files["90 % zeros"])
    for layers in get_args(Precision)[1:]:
        files[layers], _ = bench.write(layers, bench.lines["dense"], [replace(way, layers=layers)], bench.stream.plain)
    times = compare(files, bench.judging.select(bench.inputs), loads=LOADS)["us_per_row"]
    return {"times": times, "bytes": {name: model_bytes(file) / model_bytes(dense) for name, file in files.items()}}


def as_sparse(file: Path) -> Path:
    """Write a model with its layers' weights as sparse tensors: ONNX Runtime makes them dense when it loads them."""
    model = onnx.load(file)
    graph = model.graph
    for tensor in [t for t in graph.initializer if t.name.endswith("weight")]:
        values = onnx.numpy_helper.to_array(tensor)
        at = np.flatnonzero(values)
        kept = onnx.numpy_helper.from_array(values.ravel()[at], tensor.name)
        graph.sparse_initializer.append(helper.make_sparse_tensor(kept, onnx.numpy_helper.from_array(at), values.shape))
        graph.initializer.remove(tensor)
    made = file.with_name("sparse.onnx")
    onnx.save(model, made)
    return made


def carved(bench: Bench, share: str, dense: Path, costs: Path) -> dict[str, Any]:
    """Return what one budget has and takes beside the dense network's fp32 export."""
    stream, line, full = bench.stream, bench.lines[share], bench.lines["dense"]
    told: dict[str, Any] = {"mlp": weights(line) / weights(full), "counts": line.shape.counts()}
    told["flops"] = line.shape.flops() / full.shape.flops()
    files = {"dense": dense}
    for form, schema in (("plain", stream.plain), ("request", stream.schema)):
        network = Network(line, bench.vocabulary, schema)
        every, _ = ranked(network, bench.learned, [128], costs)
        files[form], lowered = bench.write(f"{share}-{form}", line, every, schema)
        told[form] = {"lowering": str(lowered.lowering), "refused": list(lowered.refused)}
        told[form]["ne"] = paired(bench.losses(files[form]), bench.losses(dense)).to_json()
        exact = next(way for way in every if way.exact)
        files[f"{form} fp32"], _ = bench.write(f"{share}-{form}-fp32", line, [exact], schema)
    told["bytes"] = {form: model_bytes(file) / model_bytes(dense) for form, file in files.items()}
    rows = bench.judging.select(bench.inputs)
    told["times"] = compare({n: files[n] for n in ("dense", "plain", "plain fp32")}, rows, loads=LOADS)
    request = {f.name for f in of_request(stream.schema)}
    names = ("dense", "request", "request fp32")
    once = dict.fromkeys(names[1:], request)
    told["request times"] = compare({n: files[n] for n in names}, rows, once=once, loads=LOADS)
    told["lookups"] = look_ups(bench, line, rows)
    told["same"] = same(stream, files, rows)
    return told


def weights(line: Line) -> int:
    """Count the weights of the fully connected layers."""
    return sum(line.weights[name].numel() for name in line.layer_names())


def look_ups(bench: Bench, line: Line, rows: pl.DataFrame) -> dict[str, float]:
    """Return microseconds a row of the look-ups alone, at 128 rows."""
    sessions = {}
    for name, one in (("dense", bench.lines["dense"]), ("served", line)):
        build = Builder()
        found = helper.make_tensor_value_info(
            str(look_up(build, one, bench.vocabulary)), TensorProto.INT64, [None, None]
        )
        sessions[name] = open_session(build.model(graph_inputs(bench.stream.plain), [found]).SerializeToString())
    fed = [feed(batch) for batch in calls(rows, 128)]
    return {name: times["p50"] for name, times in interleaved(sessions, dict.fromkeys(sessions, fed), 128).items()}


def same(stream: Stream, files: Mapping[str, Path], rows: pl.DataFrame) -> float:
    """Return the largest difference of a request's probabilities from those of the plain graph, both fp32."""
    request = {f.name for f in of_request(stream.schema)}
    one = rows.head(128).with_columns(pl.col(sorted(request)).first())
    plain = open_session(files["plain fp32"]).run(["p_click"], feed(one))[0]
    once = open_session(files["request fp32"]).run(["p_click"], feed(one, request))[0]
    return float(np.max(np.abs(plain - once)))


def main(folder: Path, names: list[str]) -> None:
    """Measure the shapes, keep the figures in the folder and print the tables."""
    use_threads(1)
    settings, found, out = read_settings(Path()), {}, Console(width=400, soft_wrap=True)
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        found[name] = measure(name, CASES[name], settings, folder)
        write_json(folder / f"{name}.json", found[name])
    for told in (table(found), split(found), promised(found)):
        out.print(told, markup=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="keeps what was trained and measured")
    parser.add_argument("shapes", nargs="*", help=f"of {', '.join(CASES)}; all if none is given")
    given = parser.parse_args()
    if unknown := set(given.shapes) - set(CASES):
        parser.error(f"{', '.join(sorted(unknown))}: shapes are {', '.join(CASES)}")
    main(given.folder, given.shapes or list(CASES))
