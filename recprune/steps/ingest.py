"""Ingest: one typed Parquet partition; rejected, duplicate and late rows set aside with a reason each."""

import math
from collections.abc import Iterable, Iterator
from datetime import date as calendar_day
from pathlib import Path

from recprune.data.events import read_events
from recprune.data.partition import write_partition
from recprune.data.sources.catalog import open_source
from recprune.data.sources.source import KnowsTheBest, MissingDayError, RawBatch, Source
from recprune.days import parse_day
from recprune.settings import Settings


def ingest(settings: Settings, *, day: str, events: Path, rejected: Path) -> None:
    """Read the day from the source and write what can be used, what cannot, and the counts.

    Whatever the source delivers, or does not, is written down for `validate` to judge.
    """
    source = open_source(settings.ingest, settings.schema)
    date, schema = parse_day(day), source.schema()
    missing: list[str] = []
    found = read_events(_delivered(source.read(date), missing), schema, date, text=source.text)
    found.problems.extend(missing)
    best = None if missing else _best(source, date)
    write_partition(found, schema, day, source.name, events, rejected, teacher_ne=best, note=source.note)


def _delivered(batches: Iterable[RawBatch], missing: list[str]) -> Iterator[RawBatch]:
    """Yield what there is; a day that is missing, or breaks off, becomes a sentence."""
    try:
        yield from batches
    except MissingDayError as error:
        missing.append(str(error))


def _best(source: Source, date: calendar_day) -> float | None:
    """Return the NE of the true probabilities, where the source knows them and both labels occur."""
    best = source.teacher_normalized_entropy(date) if isinstance(source, KnowsTheBest) else math.nan
    return best if math.isfinite(best) else None
