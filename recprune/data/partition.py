"""The typed Parquet partition of a day's events."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.accepted import PART_ROWS, part_name, write_part
from recprune.data.events import DayOfEvents
from recprune.data.schema import Schema
from recprune.data.trial_rows import TrialRows
from recprune.files import MANIFEST, artefact, open_artefact, understood

_ASIDE, _CORRECTIONS = "rejected.parquet", "corrections.parquet"


@dataclass(frozen=True, slots=True)
class Partition:
    """A stored day of events."""

    path: Path
    day: str
    schema: Schema
    counts: dict[str, int]
    reasons: dict[str, int]
    problems: list[str]
    teacher_ne: float | None = None
    """NE of the true probabilities, where the source knows them: no model's is lower but by luck."""

    columns: dict[str, str] = field(default_factory=dict)
    """What the delivery had, those columns too that the schema does not name; see `column_types`."""

    corrections: dict[str, int] = field(default_factory=dict)
    """Rows of amended days that are learned with this one, by day."""

    trial: TrialRows | None = None
    """The rows by which a trial chose the day's parent; None of nearly every day."""

    def corrected(self) -> pl.DataFrame:
        """Return the rows of amended days, as they are now, that are learned with this day; no others of theirs."""
        path = self.path / _CORRECTIONS
        return pl.read_parquet(path) if path.exists() else self.scan().head(0).collect()

    def scan(self) -> pl.LazyFrame:
        """Return the events, in order of time, not yet read."""
        return pl.scan_parquet(self.parts())

    def parts(self) -> list[Path]:
        """Return the files of the events, in order."""
        names = takewhile(lambda path: path.exists(), (self.path / part_name(n) for n in count()))
        return [*names] or [self.path / part_name(0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What is known of a day's events besides the rows."""

    schema: Schema
    source: str
    teacher_ne: float | None = None
    """As in `Partition`."""
    note: str = ""
    """What the source says of itself."""
    trial: TrialRows | None = None
    """As in `Partition`."""


def write_partition(
    found: DayOfEvents,
    about: About,
    day: str,
    events: Path,
    rejected: Path,
    corrections: Mapping[str, pl.DataFrame] | None = None,
) -> None:
    """Write a day's events and the rows set aside, each with its manifest, which repeats the source's note.

    Rows of amended days, by day, lie beside the events, which they are none of. The rows of a trial are named.
    """

    def write(folder: Path) -> tuple[DayOfEvents, About]:
        for number, start in enumerate(range(0, max(found.events.height, 1), PART_ROWS)):
            write_part(found.events.slice(start, PART_ROWS), folder / part_name(number))
        return found, about

    fill_partition(write, day, events, rejected, corrections)


def fill_partition(
    write: Callable[[Path], tuple[DayOfEvents, About]],
    day: str,
    events: Path,
    rejected: Path,
    corrections: Mapping[str, pl.DataFrame] | None = None,
) -> None:
    """Write what `write_partition` does; the events are written by a function that is given their folder."""
    told: dict[str, Any] = {}
    with artefact(events, "events", day, told) as folder:
        if corrections:
            pl.concat(corrections.values()).write_parquet(folder / _CORRECTIONS)
        found, about = write(folder)
        told |= {"source": about.source, **({"note": about.note} if about.note else {}), "counts": found.counts}
        told |= {"reasons": _reasons(found.aside)}
        with artefact(rejected, "rejected", day, dict(told)) as beside:
            found.aside.write_parquet(beside / _ASIDE)
        told |= {"problems": found.problems, "schema": about.schema.to_json(), "columns": found.columns}
        told |= {} if about.teacher_ne is None else {"teacher_ne": about.teacher_ne}
        told |= {"corrections": {each: rows.height for each, rows in corrections.items()}} if corrections else {}
        told |= {} if about.trial is None else {"trial": about.trial.to_json()}


def open_partition(path: Path, day: str | None = None) -> Partition:
    """Check and open a stored day of events."""
    manifest = open_artefact(path, "events", day)
    with understood(path / MANIFEST):
        return Partition(
            path=path,
            day=manifest["day"],
            schema=Schema.from_json(manifest["schema"]),
            counts=_counts(manifest["counts"]),
            reasons=dict(manifest["reasons"]),
            problems=[str(problem) for problem in manifest["problems"]],
            teacher_ne=manifest.get("teacher_ne"),
            columns=dict(manifest.get("columns", {})),
            corrections={str(each): operator.index(n) for each, n in manifest.get("corrections", {}).items()},
            trial=TrialRows.from_json(manifest["trial"]) if "trial" in manifest else None,
        )


def read_again(events: Path, rejected: Path) -> tuple[DayOfEvents, About]:
    """Return a stored day's events as `ingest` found them, and what is known of them besides."""
    stored, manifest = open_partition(events), open_artefact(events, "events")
    open_artefact(rejected, "rejected", stored.day)
    aside = pl.read_parquet(rejected / _ASIDE)
    found = DayOfEvents(stored.scan().collect(), aside, stored.counts, stored.problems, stored.columns)
    with understood(events / MANIFEST):
        source, note = str(manifest["source"]), str(manifest.get("note", ""))
    return found, About(schema=stored.schema, source=source, teacher_ne=stored.teacher_ne, note=note)


def _counts(told: dict[str, Any]) -> dict[str, int]:
    """Return the counts of a day; what was read is what was accepted and what was set aside."""
    counts = {name: operator.index(told[name]) for name in ("read", "accepted", "rejected", "duplicate", "late")}
    if min(counts.values()) < 0 or 2 * counts["read"] != sum(counts.values()):
        raise ValueError(f"{counts} do not add up")
    return counts


def _reasons(aside: pl.DataFrame) -> dict[str, int]:
    """Count the rows set aside by kind and reason, values left out, most frequent first."""
    rule = pl.col("reason").str.split(": ").list.first()
    counted = aside.group_by(pl.col("kind") + ": " + rule).len().sort(["len", "kind"], descending=[True, False])
    return dict(counted.head(50).iter_rows())
