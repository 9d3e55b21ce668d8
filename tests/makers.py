"""Tiny, seeded things that tests are made of: a schema, raw rows, days of events, settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

import recprune
from recprune.config import parse_settings
from recprune.data.events import DayOfEvents, read_events
from recprune.data.partition import About, Partition, open_partition, write_partition
from recprune.data.schema import Schema, ids, number
from recprune.data.sources.source import BrokenRow, RawBatch
from recprune.settings import Settings

DAY = date(2024, 1, 5)
NOON = datetime(2024, 1, 5, 12, tzinfo=UTC)
SCHEMA = Schema(
    label="click",
    time="at",
    key=("request",),
    features=(ids("user", "int64"), ids("item"), number("price")),
)


def row(request: object, **changes: object) -> dict[str, object]:
    """Return a good row, with some of its values changed."""
    return {"request": request, "at": NOON, "click": 1, "user": 7, "item": "a", "price": 1.5} | changes


def batch(rows: Sequence[Mapping[str, Any]], first: int = 1, broken: Sequence[BrokenRow] = ()) -> RawBatch:
    """Return rows as a source delivers them, lines from `first` on."""
    names = list(dict.fromkeys(name for r in rows for name in r))
    columns = {name: pa.array([r.get(name) for r in rows]) for name in names}
    lines = np.arange(first, first + len(rows), dtype=np.int64)
    return RawBatch(pa.RecordBatch.from_pydict(columns), lines, tuple(broken))


def read(rows: Sequence[Mapping[str, Any]], schema: Schema = SCHEMA, *, text: bool = False) -> DayOfEvents:
    """Type and check the rows of a day that came in one batch."""
    return read_events([batch(rows)], schema, DAY, text=text)


def aside(found: DayOfEvents) -> list[tuple[str, int, str]]:
    """Return kind, line and reason of the rows set aside."""
    return [(kind, line, reason) for kind, line, reason, _ in found.aside.iter_rows()]


def stream(seed: int, rows: int, day: date = DAY) -> pa.RecordBatch:
    """Draw a day of rows: popular and rare ids, a number, a label that depends on both."""
    draw = np.random.default_rng(seed)
    user = draw.zipf(1.3, rows) % 200
    item = draw.integers(0, 30, rows)
    price = draw.normal(5, 2, rows)
    click = draw.random(rows) < 1 / (1 + np.exp(1.5 - 0.05 * item))
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    seconds = np.sort(draw.integers(0, 86_400, rows))
    return pa.RecordBatch.from_pydict(
        {
            "request": [f"{day}-{n}" for n in range(rows)],
            "at": [start + timedelta(seconds=int(s)) for s in seconds],
            "click": click.astype(np.int8),
            "user": user.astype(np.int64),
            "item": [f"item {n}" for n in item],
            "price": price,
        }
    )


def day_of(rows: pa.RecordBatch, day: date = DAY, schema: Schema = SCHEMA) -> DayOfEvents:
    """Type and check a day's drawn rows."""
    lines = np.arange(1, rows.num_rows + 1, dtype=np.int64)
    return read_events([RawBatch(rows, lines)], schema, day, text=False)


def stored(found: DayOfEvents, folder: Path, day: date = DAY, schema: Schema = SCHEMA) -> Partition:
    """Write a day under `folder` and open it."""
    path = folder / f"events/{day}"
    write_partition(found, About(schema=schema, source="test"), str(day), path, folder / f"rejected/{day}")
    return open_partition(path, str(day))


def settings(**sections: Mapping[str, Any]) -> Settings:
    """Return the packaged settings, on the CPU, with some values of their sections changed."""
    packaged = parse_settings(Settings, packaged_params(), "params.yaml")
    packaged = replace(packaged, train=replace(packaged.train, device="cpu"))
    changed = {name: replace(getattr(packaged, name), **values) for name, values in sections.items()}
    return replace(packaged, **changed)


def packaged_params() -> Any:
    """Return the packaged params.yaml as plain values."""
    return yaml.safe_load(packaged_text())


def packaged_text() -> str:
    """Return the packaged params.yaml."""
    return (Path(recprune.__file__).parent / "templates/params.yaml.template").read_text(encoding="utf-8")
