"""What the networks that policies end with take in ONNX Runtime: all of them in turn, fp32 and int8."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from recprune.backtest.stream import Stream
from recprune.data.events import read_events
from recprune.data.sources.source import Source
from recprune.data.vocabulary import Vocabulary
from recprune.files import SCRATCH, artefact
from recprune.lowering.graph import build_graph
from recprune.lowering.int8 import quantize
from recprune.model.checkpoint import load_lines
from recprune.model.line import Line
from recprune.serving.latency import measure_latency
from recprune.serving.scorer import MODEL, Scorer

BATCHES = (1, 128)
REPEATS = 300
PRECISIONS = ("fp32", "int8")


def measure(lines: Mapping[str, Path], stream: Stream, source: Source) -> dict[str, dict[str, dict[str, float]]]:
    """Return the median microseconds of a call, per name, precision and batch size, one thread.

    Args:
        lines: folders of served lines, by name.
        stream: what they were trained on.
        source: gives the raw rows of the last day.
    """
    day = date.fromisoformat(stream.days[-1])
    events = read_events(source.read(day), stream.schema, day, text=source.text)
    columns = {f.name: events.events[f.name].to_numpy() for f in stream.schema.features}
    folder = SCRATCH / "latency" / f"{os.getpid()}"
    try:
        scorers = _scorers(lines, stream, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = measure_latency(scorers, columns, BATCHES, REPEATS)["latency"]
    return {
        name: {
            precision: {size: values["p50_us"] for size, values in found[f"{precision} {name}"].items()}
            for precision in PRECISIONS
        }
        for name in lines
    }


def known_ids(vocabulary: Vocabulary, line: Line) -> Vocabulary:
    """Return the vocabulary with the ids that a line has rows for: one that learns no more knows no later ones."""
    sizes = dict(zip((f.name for f in vocabulary.features), line.sizes, strict=True))
    tables = {name: table.filter(pl.col("row") < sizes[name]) for name, table in vocabulary.tables.items()}
    return replace(vocabulary, tables=tables)


def _scorers(lines: Mapping[str, Path], stream: Stream, folder: Path) -> dict[str, Scorer]:
    """Return every line as a model in memory, in both precisions; the files are not needed afterwards."""
    vocabulary, day = stream.vocabulary(), stream.days[-1]
    about: dict[str, Any] = {"inputs": [{"name": f.name, "dtype": f.dtype} for f in stream.schema.features]}
    scorers: dict[str, Scorer] = {}
    for number, (name, kept) in enumerate(lines.items()):
        line = load_lines(kept)[0]["served"]
        model = build_graph(line, known_ids(vocabulary, line), stream.schema, 0.0).SerializeToString()
        for precision in PRECISIONS:
            bundle = folder / f"{number}-{precision}"
            with artefact(bundle, "bundle", day, about) as made:
                _write(model, made / MODEL, precision)
            scorers[f"{precision} {name}"] = Scorer(bundle)
    return scorers


def _write(model: bytes, file: Path, precision: str) -> None:
    if precision == "fp32":
        file.write_bytes(model)
        return
    whole = file.with_name("fp32.onnx")
    whole.write_bytes(model)
    with _without_advice():
        quantize(whole, file)
    whole.unlink()


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the one sentence in which ONNX Runtime advises to optimize the graph first; ours is built that way."""
    root = logging.getLogger()  # ONNX Runtime logs there, not to a logger of its own

    def other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Please consider to run pre-processing before quantization.")

    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)
