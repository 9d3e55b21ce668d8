"""Ingest: one typed Parquet partition; rejected, duplicate and late rows set aside with a reason each."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from recprune.data.events import read_events
from recprune.data.partition import write_partition
from recprune.data.sources.catalog import open_source
from recprune.data.sources.source import MissingDayError, RawBatch
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
    write_partition(found, schema, day, source.name, events, rejected)


def _delivered(batches: Iterable[RawBatch], missing: list[str]) -> Iterator[RawBatch]:
    """Yield what there is; a day that is missing, or breaks off, becomes a sentence."""
    try:
        yield from batches
    except MissingDayError as error:
        missing.append(str(error))
