"""What the networks that policies end with take in ONNX Runtime: all of them in turn, fp32 and int8."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from recprune.backtest.stream import Stream
from recprune.data.events import read_events
from recprune.data.sources.source import Source
from recprune.files import SCRATCH, artefact
from recprune.lowering.graph import build_graph
from recprune.lowering.int8 import quantize
from recprune.model.checkpoint import load_lines
from recprune.serving.latency import measure_latency
from recprune.serving.scorer import MODEL, Scorer

BATCHES = (1, 128)
REPEATS = 300


def measure(lines: Mapping[str, Path], stream: Stream, source: Source) -> dict[str, dict[str, dict[str, float]]]:
    """Return the median microseconds of a call, per name, precision and batch size, one thread.

    Args:
        lines: folders of served lines, by name.
        stream: what they were trained on.
        source: gives the raw rows of the last day.
    """
    vocabulary, day = stream.vocabulary(), stream.days[-1]
    events = read_events(source.read(date.fromisoformat(day)), stream.schema, date.fromisoformat(day), text=source.text)
    columns = {f.name: events.events[f.name].to_numpy() for f in stream.schema.features}
    scorers: dict[str, Scorer] = {}
    for number, (name, folder) in enumerate(lines.items()):
        graph = build_graph(load_lines(folder)[0]["served"], vocabulary, stream.schema, 0.0)
        about: dict[str, Any] = {
            "inputs": [{"name": f.name, "dtype": f.dtype} for f in stream.schema.features],
        }
        for precision in ("fp32", "int8"):
            bundle = SCRATCH / "latency" / f"{number}-{precision}"
            with artefact(bundle, "bundle", day, about) as made:
                (made / MODEL).write_bytes(graph.SerializeToString())
                if precision == "int8":
                    fp32 = (made / MODEL).rename(made / "fp32.onnx")
                    quantize(fp32, made / MODEL)
                    fp32.unlink()
            scorers[f"{precision} {name}"] = Scorer(bundle)
    found = measure_latency(scorers, columns, BATCHES, REPEATS)["latency"]
    return {
        name: {
            precision: {size: values["p50_us"] for size, values in found[f"{precision} {name}"].items()}
            for precision in ("fp32", "int8")
        }
        for name in lines
    }
