"""What the networks that policies end with take in ONNX Runtime: all of them in turn, fp32 and int8."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import polars as pl

from recprune.backtest.stream import Stream
from recprune.data.events import read_events
from recprune.data.sources.source import Source
from recprune.data.vocabulary import Vocabulary
from recprune.files import SCRATCH, artefact
from recprune.lowering.external import save_model
from recprune.lowering.graph import Network, build_graph
from recprune.lowering.inputs import describe_inputs, raw_values
from recprune.lowering.interaction import usual_lowering
from recprune.lowering.ranges import input_ranges
from recprune.lowering.session import feed
from recprune.model.checkpoint import load_lines
from recprune.model.line import Line
from recprune.serving.latency import measure_latency
from recprune.serving.scorer import MODEL, Scorer

BATCHES = (1, 128)
REPEATS = 300
PRECISIONS: tuple[Literal["fp32", "int8"], ...] = ("fp32", "int8")
RANGED = 5000
"""Rows from which the ranges of int8 are taken."""


def measure(lines: Mapping[str, Path], stream: Stream, source: Source) -> dict[str, dict[str, dict[str, float]]]:
    """Return the median microseconds of a call, per name, precision and batch size, one thread.

    Args:
        lines: folders of served lines, by name.
        stream: what they were trained on.
        source: gives the raw rows of the last day.
    """
    day = date.fromisoformat(stream.days[-1])
    events = read_events(source.read(day), stream.schema, day, text=source.text)
    rows = raw_values(events.events, stream.schema)
    folder = SCRATCH / "latency" / f"{os.getpid()}"
    try:
        scorers = _scorers(lines, stream, folder, rows.tail(RANGED))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = measure_latency(scorers, feed(rows), BATCHES, REPEATS)["latency"]
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


def _scorers(lines: Mapping[str, Path], stream: Stream, folder: Path, rows: pl.DataFrame) -> dict[str, Scorer]:
    """Return every line as a model in memory, in both precisions; the files are not needed afterwards."""
    vocabulary, day = stream.vocabulary(), stream.days[-1]
    about: dict[str, Any] = {"inputs": describe_inputs(stream.schema)["inputs"]}
    scorers: dict[str, Scorer] = {}
    for number, (name, kept) in enumerate(lines.items()):
        line = load_lines(kept)[0]["served"]
        known, usual = known_ids(vocabulary, line), usual_lowering(line.shape)
        ranges = input_ranges(Network(line, known, stream.schema), feed(rows), folder)
        for precision in PRECISIONS:
            bundle = folder / f"{number}-{precision}"
            model = build_graph(line, known, stream.schema, 0.0, replace(usual, layers=precision), ranges)
            with artefact(bundle, "bundle", day, about) as made:
                save_model(model, made / MODEL)
            scorers[f"{precision} {name}"] = Scorer(bundle)
    return scorers
