"""The typed Parquet partition of a day's events."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.events import DayOfEvents
from recprune.data.schema import Schema
from recprune.files import artefact, open_artefact

_EVENTS = "events.parquet"
_ROW_GROUP = 65_536


@dataclass(frozen=True, slots=True)
class Partition:
    """A stored day of events."""

    path: Path
    day: str
    schema: Schema
    counts: dict[str, int]
    reasons: dict[str, int]
    problems: list[str]

    def scan(self) -> pl.LazyFrame:
        """Return the events, in order of time, not yet read."""
        return pl.scan_parquet(self.path / _EVENTS)


def write_partition(found: DayOfEvents, schema: Schema, day: str, source: str, events: Path, rejected: Path) -> None:
    """Write a day's events and the rows set aside, each with its manifest."""
    reasons = _reasons(found.aside)
    about: dict[str, Any] = {"source": source, "counts": found.counts, "reasons": reasons}
    with artefact(rejected, "rejected", day, dict(about)) as folder:
        found.aside.write_parquet(folder / "rejected.parquet")
    about |= {"problems": found.problems, "schema": schema.to_json()}
    with artefact(events, "events", day, about) as folder:
        found.events.write_parquet(folder / _EVENTS, row_group_size=_ROW_GROUP)


def open_partition(path: Path, day: str | None = None) -> Partition:
    """Check and open a stored day of events."""
    manifest = open_artefact(path, "events", day)
    return Partition(
        path=path,
        day=manifest["day"],
        schema=Schema.from_json(manifest["schema"]),
        counts=manifest["counts"],
        reasons=manifest["reasons"],
        problems=manifest["problems"],
    )


def _reasons(aside: pl.DataFrame) -> dict[str, int]:
    """Count the rows set aside by kind and reason, values left out, most frequent first."""
    rule = pl.col("reason").str.split(": ").list.first()
    counted = aside.group_by(pl.col("kind") + ": " + rule).len().sort(["len", "kind"], descending=[True, False])
    return dict(counted.head(50).iter_rows())
