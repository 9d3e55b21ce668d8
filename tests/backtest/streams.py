"""A tiny decoded stream of the simulator, trials on it, and a view that remembers."""

from collections.abc import Iterator
from contextlib import chdir
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from recprune.backtest.policies import choose
from recprune.backtest.stream import Stream, decode
from recprune.backtest.trial import Record, Schedule, Trial
from recprune.data.schema import Schema
from recprune.data.simulator.settings import SimulatorSettings
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.sources.source import MissingDayError, RawBatch
from recprune.days import days_between
from recprune.settings import Settings
from tests.makers import SCHEMA, settings, stream

DAYS = list(days_between("2024-01-01", "2024-01-14"))
SCHEDULE = Schedule(warm=2, tuned=9)
TINY: dict[str, dict[str, Any]] = {
    "model": {"embedding": 4, "bottom": (8,), "top": (16, 8), "cross_layers": 1},
    "train": {"threads": 1, "batch": 128, "learning_rate": 0.02},
    "prune": {"min_neurons": 2, "min_inputs": 0.1, "budget": 0.5, "carve_days": 2, "probation": 1, "swap": 2},
}


PACKAGED = settings(**TINY)


def tiny(**sections: dict[str, Any]) -> Settings:
    """Return settings of a network that learns a day in a blink."""
    changed = {name: replace(getattr(PACKAGED, name), **values) for name, values in sections.items()}
    return replace(PACKAGED, **changed)


def simulator(**knobs: Any) -> SimulatorSettings:
    """Return a stream of 200 rows a day, 4 features and a number, ids that turn over."""
    small = {"rows": 200, "categorical": 4, "numeric": 1, "informative": 4, "ids": 20, "hidden": 4, "new_ids": 0.1}
    return replace(PACKAGED.ingest.simulator, **(small | knobs))


def decoded(folder: Path, days: list[str] = DAYS, **knobs: Any) -> Stream:
    """Decode a tiny stream under a folder."""
    with chdir(folder):
        source = SimulatorSource(simulator(**knobs))
        return decode(source, days, PACKAGED.featurize, folder / "stream", lambda _done, _all: None)


def trial_of(text: str, budget: float = 0.5, family: str = "dlrm", days: int = len(DAYS), **train: Any) -> Trial:
    """Return a trial on the tiny stream."""
    base = tiny(model={"family": family}, train=train)
    chosen = choose(text, base.prune, budget)
    return Trial(chosen=chosen, model=base.model, train=base.train, schedule=SCHEDULE, days=days)


def told(record: Record | dict[str, Any]) -> dict[str, Any]:
    """Return a record without what the clock says."""
    plain = asdict(record) if isinstance(record, Record) else record
    return {name: value for name, value in plain.items() if name != "train_seconds"}


class Log:
    """A view that remembers what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.expected = self.done = 0

    def begin(self, text: str) -> None:
        self.said.append(text)

    def say(self, text: str) -> None:
        self.said.append(text)

    def expect(self, days: int) -> None:
        self.expected += days

    def advance(self, days: int) -> None:
        self.done += days


class ListedSource:
    """A source with so many rows on each of its days, no rows on some, and nothing at all on others."""

    name = "listed"
    text = False

    def __init__(self, rows: dict[str, int]) -> None:
        self.rows = rows
        self.reads: list[str] = []

    def schema(self) -> Schema:
        return SCHEMA

    def span(self) -> tuple[date, date | None]:
        return date.fromisoformat(min(self.rows)), date.fromisoformat(max(self.rows))

    def read(self, day: date) -> Iterator[RawBatch]:
        self.reads.append(day.isoformat())
        if day.isoformat() not in self.rows:
            raise MissingDayError(f"nothing on {day}")
        if rows := self.rows[day.isoformat()]:
            yield RawBatch(stream(day.toordinal(), rows, day), np.arange(1, rows + 1, dtype=np.int64))
