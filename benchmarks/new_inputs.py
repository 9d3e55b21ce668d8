"""How new inputs of a network should start (decision 14): python benchmarks/new_inputs.py [SEEDS] [FAMILY].

Three of nine informative features of a simulated stream come on day 15; NE of that day and of the five after, by how
their weights start, mean over SEEDS streams. Every other weight is the same in all rows.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from importlib.resources import files

import numpy as np
import polars as pl
import torch
import yaml
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from recprune.config import parse_settings
from recprune.data.events import read_events
from recprune.data.features import encode
from recprune.data.ids import Admission
from recprune.data.schema import Schema
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.vocabulary import Vocabulary
from recprune.metrics.scores import normalized_entropy, probability
from recprune.model.change import Structure, change_of, kinds
from recprune.model.line import Line, grow_rows, new_line
from recprune.model.refit import refit
from recprune.model.shape import dense_shape
from recprune.model.threads import use_threads
from recprune.settings import Settings
from recprune.training.incremental import learn
from recprune.training.scoring import score

BEFORE, AFTER, LATE = 14, 6, ("c00", "c03", "n01")
"""Days without the new features, days with them, and which these are."""
Start = Callable[[Line, Line], None]
"""Changes the fitted line, in place; the other one is as if it were untrained."""


def start(share: float, *, mean_moment: bool) -> Start:
    """Return what gives new weights a share of what an untrained network has, and a second moment (else 0)."""

    def begin(line: Line, untrained: Line) -> None:
        for name, new in _new_inputs(line):
            line.weights[name][:, new] = untrained.weights[name][:, new] * share
            if mean_moment:
                second = line.moments[f"{name}.second"]
                second[:, new] = second[:, ~new].mean()

    return begin


def _new_inputs(line: Line) -> list[tuple[str, torch.Tensor]]:
    """Return the layers that read new inputs, and which of theirs these are: the fit leaves all their weights at 0."""
    names = (name for name in line.layer_names() if name.endswith("weight"))
    found = ((name, (line.weights[name] == 0).all(0)) for name in names)
    return [(name, new) for name, new in found if new.any()]


SHARES = {"drawn as if untrained": 1.0, "drawn, a tenth": 0.1, "0": 0.0}
MOMENTS = {"the tensor's mean": True, "0": False}
STARTS: dict[tuple[str, str], Start | None] = {
    ("never comes", ""): None,
    **{(w, m): start(share, mean_moment=mean) for w, share in SHARES.items() for m, mean in MOMENTS.items()},
    ("always there", ""): None,
}
"""By weight and second moment; the last but one is what recprune does."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One simulated stream."""

    settings: Settings
    schema: Schema
    days: list[pl.DataFrame]

    def without(self) -> Schema:
        """Return the schema before the new features come."""
        return replace(self.schema, features=tuple(f for f in self.schema.features if f.name not in LATE))


def stream(seed: int, family: str) -> Stream:
    """Draw a stream of 4,000 rows a day."""
    packaged = yaml.safe_load(files("recprune").joinpath("templates/params.yaml.template").read_text(encoding="utf-8"))
    packaged["model"]["family"] = family
    packaged["train"]["threads"] = 1
    packaged["ingest"]["simulator"] |= {"seed": seed, "rows": 4000, "categorical": 6, "numeric": 3, "informative": 9}
    packaged["ingest"]["simulator"] |= {"ids": 300, "faults": []}
    settings = parse_settings(Settings, packaged, "params.yaml")
    source = SimulatorSource(settings.ingest.simulator)
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(BEFORE + AFTER)]
    events = [read_events(source.read(day), source.schema(), day, text=False).events for day in days]
    return Stream(settings, source.schema(), events)


def normalized_entropies(found: Stream, seed: int, how: tuple[str, str]) -> NDArray[np.float64]:
    """Score each day, then learn it; return NE of the days from the change on (AFTER,)."""
    settings, begin = found.settings, STARTS[how]
    schema = found.schema if how[0] == "always there" else found.without()
    vocabulary = Vocabulary.empty(schema)
    line = new_line(dense_shape(schema, settings.model), vocabulary.sizes(), 1)
    told = []
    for n, events in enumerate(found.days):
        if n == BEFORE and begin is not None:
            schema, vocabulary = found.schema, vocabulary.fitted(found.schema)
            line = _changed(line, found, vocabulary, begin)
        learned = encode(events, schema, vocabulary)
        if n >= BEFORE:
            told.append(normalized_entropy(learned.label.astype(np.float64), probability(score(line, learned))))
        vocabulary = vocabulary.learn(events, Admission(settings.featurize.min_count))
        grow_rows(line, vocabulary.sizes(), n + seed)
        learn(line, encode(events, schema, vocabulary), settings.train, seed * 1000 + n)
    return np.array(told)


def _changed(line: Line, found: Stream, vocabulary: Vocabulary, begin: Start) -> Line:
    model = found.settings.model
    change = change_of(Structure.of(line.shape.to_json()), kinds(found.without()), found.schema, model)
    target = dense_shape(found.schema, model)
    fitted = refit(line, line, target, vocabulary.sizes(), change, 7).dense
    begin(fitted, new_line(target, vocabulary.sizes(), 7))
    return fitted


def main() -> None:
    """Print the table."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    family = sys.argv[2] if len(sys.argv) > 2 else "dlrm"
    use_threads(1)
    streams = [stream(seed, family) for seed in range(1, seeds + 1)]
    table = Table(f"weights ({family}, {seeds} seeds)", "second moment", "first day", "all six days", "± between seeds")
    for how in STARTS:
        each = np.array([normalized_entropies(found, n, how) for n, found in enumerate(streams, start=1)])
        table.add_row(*how, f"{each[:, 0].mean():.4f}", f"{each.mean():.4f}", f"{each.mean(1).std():.4f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
