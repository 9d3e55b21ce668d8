"""Avazu: clicks on mobile advertisements, a CSV file whose column `hour` is written YYMMDDHH.

Terms: Kaggle's; nothing of it is packaged.
"""

from collections.abc import Iterator
from datetime import date

from recprune.data.schema import Schema, ids
from recprune.data.sources.clock import Clock
from recprune.data.sources.csv_rows import read_csv
from recprune.data.sources.file_settings import AvazuSettings
from recprune.data.sources.source import RawBatch
from recprune.data.sources.timed_files import TimedFiles

_PLACE = ("site_id", "site_domain", "site_category", "app_id", "app_domain", "app_category")
_DEVICE = ("device_id", "device_ip", "device_model", "device_type", "device_conn_type")
_HASHED = ("C1", "banner_pos", "C14", "C15", "C16", "C17", "C18", "C19", "C20", "C21")
_SCHEMA = Schema(
    label="click",
    time="hour",
    key=("id",),
    features=(*(ids(name, per="request") for name in (*_PLACE, *_DEVICE)), *(ids(name) for name in _HASHED)),
)


class AvazuSource:
    """Impressions by day; times are known to the hour, and within it the file's order counts."""

    name = "avazu"
    text = True
    note = ""

    def __init__(self, settings: AvazuSettings) -> None:
        clock = Clock("hour", "%y%m%d%H")
        self._files = TimedFiles("ingest.avazu.path", settings.path, "avazu", _read, clock)

    def schema(self) -> Schema:
        """Return what the rows mean."""
        return _SCHEMA

    def span(self) -> tuple[date, date | None]:
        """Return the first and the last day of the files."""
        return self._files.span()

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield a day's rows; lines are those of their file."""
        return (batch for _, batch in self._files.of_day(day))


def _read(name: str) -> Iterator[RawBatch]:
    return read_csv(name, 65_536)
