"""Ingest: one typed Parquet partition of the day; rejected, duplicate and late rows set aside with a reason."""

from pathlib import Path

from recprune.data.events import read_events
from recprune.data.partition import write_partition
from recprune.data.sources.catalog import open_source
from recprune.data.sources.source import MissingDayError
from recprune.days import parse_day
from recprune.settings import Settings


def ingest(settings: Settings, *, day: str, events: Path, rejected: Path) -> None:
    """Read the day from the source and write what can be used, what cannot, and the counts.

    Whatever the source delivers, or does not, is written down for `validate` to judge.
    """
    source = open_source(settings.ingest, settings.schema)
    date, schema = parse_day(day), source.schema()
    missing: list[str] = []
    try:
        found = read_events(source.read(date), schema, date, text=source.text)
    except MissingDayError as error:
        found = read_events((), schema, date, text=source.text)
        missing = [str(error)]
    found.problems.extend(missing)
    write_partition(found, schema, day, source.name, events, rejected)
