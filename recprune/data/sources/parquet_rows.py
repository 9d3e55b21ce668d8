"""Rows of a Parquet file: all of them, or those of one day."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recprune.data.sources.clock import Clock
from recprune.data.sources.many_days import NO_DAY, day_numbers, filled
from recprune.data.sources.parquet_batches import checked_batches, open_parquet
from recprune.data.sources.places import open_raw
from recprune.data.sources.source import RawBatch


@contextmanager
def _open(name: str) -> Iterator[Any]:
    """Open a Parquet file; one that is none raises OSError."""
    try:
        with open_raw(name) as raw, open_parquet(raw) as file:
            yield file
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter of a name
        raise OSError(str(error)) from None


def read_parquet(name: str, batch_rows: int) -> Iterator[RawBatch]:
    """Yield the rows of a Parquet file; lines are positions in it, from 1."""
    sent = 0
    with _open(name) as file:
        for rows in checked_batches(file, batch_rows):
            if rows.num_rows:
                yield RawBatch(rows=rows, lines=sent + np.arange(1, rows.num_rows + 1, dtype=np.int64))
                sent += rows.num_rows


def read_parquet_day(name: str, batch_rows: int, clock: Clock, day: date) -> Iterator[RawBatch]:
    """Yield the rows of one day; lines are positions in the file, from 1.

    Of row groups without a row of the day only the column of times is read. A row whose time cannot be read is of
    the day of the row before it (of the first day, at the beginning).

    Raises:
        OSError: the file is damaged, or no row has a time that can be read.
    """
    with _open(name) as file:
        before, at = _opening(file, clock), 0
        for group in range(file.num_row_groups):
            days = _days(file, clock, group)
            days = filled(days, before)
            of_the_day = days == day.toordinal()
            before = int(days[-1]) if days.size else before
            if of_the_day.any():
                yield from _chosen(checked_batches(file, batch_rows, row_groups=[group]), of_the_day, at)
            at += days.size


def _chosen(batches: Iterator[pa.RecordBatch], chosen: NDArray[np.bool_], at: int) -> Iterator[RawBatch]:
    start = 0
    for rows in batches:
        here = chosen[start : start + rows.num_rows]
        if here.any():
            yield RawBatch(rows=rows.filter(pa.array(here)), lines=at + start + 1 + np.flatnonzero(here))
        start += rows.num_rows


def _opening(file: Any, clock: Clock) -> int:
    """Return the day number of the first row with a time."""
    if clock.column in file.schema_arrow.names:
        for group in range(file.num_row_groups):
            days = _days(file, clock, group)
            if (days != NO_DAY).any():
                return int(days[days != NO_DAY][0])
    elif file.metadata.num_rows:
        raise OSError(f"column {clock.column} is missing, which tells the days")
    if file.metadata.num_rows:
        raise OSError(f"no row has a time in column {clock.column} that can be read as {clock.format}")
    return NO_DAY


def _days(file: Any, clock: Clock, group: int) -> NDArray[np.int32]:
    times = file.iter_batches(row_groups=[group], columns=[clock.column])
    found = [day_numbers(clock, rows) for rows in times]
    return np.concatenate(found) if found else np.zeros(0, np.int32)
