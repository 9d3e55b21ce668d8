"""Criteo display advertising: a label, 13 integers, 26 hashed ids; an order, but no clock.

Days are invented from the order: so many rows a day, or a file each. Terms: Criteo's; nothing of it is packaged.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, partial

import polars as pl

from recprune.data.schema import Schema, ids, number
from recprune.data.sources.access import refuse_machine
from recprune.data.sources.csv_rows import read_csv
from recprune.data.sources.file_settings import CriteoSettings
from recprune.data.sources.many_days import ManyDays
from recprune.data.sources.places import matching, shown
from recprune.data.sources.records import Dialect
from recprune.data.sources.source import MissingDayError, RawBatch
from recprune.days import parse_day
from recprune.errors import SettingsError

BATCH_ROWS = 65_536
INTEGERS = tuple(f"i{n}" for n in range(1, 14))
IDS = tuple(f"c{n}" for n in range(1, 27))
_DIALECT = Dialect(separator="\t", quotes=False, columns=("label", *INTEGERS, *IDS))
_SCHEMA = Schema(
    label="label", time="time", key=("row",), features=(*(number(name) for name in INTEGERS), *(ids(n) for n in IDS))
)
"""`row` and `time` are made here: the day and the row's number in it, which is also its microsecond."""


class CriteoSource:
    """Clicks in the order of their files, whose days are invented."""

    name = "criteo"
    text = True

    def __init__(self, settings: CriteoSettings) -> None:
        problems = []
        try:
            self._first = parse_day(settings.first_day)
        except SettingsError as error:
            problems.append(f"params.yaml: ingest.criteo.first_day: {error}")
        if settings.rows_per_day and settings.days:
            problems.append(
                f"params.yaml: ingest.criteo.rows_per_day is {settings.rows_per_day} and days {settings.days}; one "
                "says where a day ends: leave out the other (leave out both, and every file is a day)."
            )
        if problems:
            raise SettingsError("\n".join(problems))
        self._settings = settings

    def schema(self) -> Schema:
        """Return what the rows mean."""
        return _SCHEMA

    @property
    def note(self) -> str:
        """Return how days were made."""
        rows = self._rows_per_day
        how = "every file is a day" if rows is None else f"{rows:,} rows a day"
        return f"the rows have no clock: days and times are invented from their order ({how})"

    def span(self) -> tuple[date, date | None]:
        """Return the first and the last day; the last may be shorter."""
        rows = self._rows_per_day
        days = len(self._names) if rows is None else -(-sum(self._sizes) // rows)
        return self._first, self._first + timedelta(days=max(days, 1) - 1)

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield a day's rows; lines are those of their file.

        Raises:
            MissingDayError: the order has no such day, or a file is damaged.
        """
        number, good, broken = (day - self._first).days, 0, 0
        try:
            for batch in self._of_number(number):
                yield _with_time(batch, day, good)
                good, broken = good + len(batch.lines), broken + len(batch.broken)
        except OSError as error:
            refuse_machine(shown(self._settings.path), error)
            raise MissingDayError(f"{shown(self._settings.path)} cannot be read ({shown(str(error))})") from None
        if good + broken == 0:
            first, last = self.span()
            raise MissingDayError(f"{shown(self._settings.path)} has no rows for {day}: its days are {first} to {last}")

    def _of_number(self, number: int) -> Iterator[RawBatch]:
        rows = self._rows_per_day
        if rows is None:
            if 0 <= number < len(self._names):
                yield from self._file(self._names[number])
            return
        start = number * rows
        for kept, size in zip(self._kept, self._sizes, strict=True):
            if number >= 0 and start < size and start + rows > 0:
                yield from kept.of_order(max(start, 0), min(start + rows, size))
            start -= size

    def _file(self, name: str) -> Iterator[RawBatch]:
        return read_csv(name, BATCH_ROWS, _DIALECT)

    @cached_property
    def _names(self) -> list[str]:
        names = matching(self._settings.path)
        if not names:
            raise SettingsError(f"params.yaml: ingest.criteo.path is {shown(self._settings.path)!r}; no file is there.")
        return sorted(names, key=in_order)

    @cached_property
    def _kept(self) -> list[ManyDays]:
        return [ManyDays(name, "criteo", partial(self._file, name), None) for name in self._names]

    @cached_property
    def _sizes(self) -> list[int]:
        return [kept.about()["rows"] for kept in self._kept]

    @cached_property
    def _rows_per_day(self) -> int | None:
        if self._settings.days:
            return max(1, -(-sum(self._sizes) // self._settings.days))
        return self._settings.rows_per_day


def in_order(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in names by their value.

    >>> sorted(["day_10.gz", "day_9.gz"], key=in_order)
    ['day_9.gz', 'day_10.gz']
    """
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"([0-9]+)", name)]


def _with_time(batch: RawBatch, day: date, sent: int) -> RawBatch:
    numbers = pl.int_range(sent, sent + batch.rows.num_rows, dtype=pl.Int64, eager=True)
    midnight = pl.lit(datetime.combine(day, time(), UTC)).cast(pl.Datetime("us", "UTC"))
    made = pl.select(time=midnight + numbers.cast(pl.Duration("us")), row=f"{day}-" + numbers.cast(pl.String))
    rows = batch.rows
    for name in made.columns:
        rows = rows.append_column(name, made[name].to_arrow(compat_level=pl.CompatLevel.newest()))
    return RawBatch(rows=rows, lines=batch.lines, broken=batch.broken)
