"""The accepted rows of a day, each key once and in order of time; of a long day in files, so that memory stays bounded.

Legend: N rows of the day in order of arrival. 24 bytes of each stay in memory: time, line and hash of its key.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.values import as_text

LINE = "\0line"
"""Column of our own beside the source's, which may have any name: the row's line in its file."""
PART_ROWS = 524_288
"""Rows of a file of a day."""
_ROW_GROUP = 65_536


def part_name(number: int) -> str:
    """Return the name of a day's file of events, from 0; most days have one.

    >>> part_name(0), part_name(1)
    ('events.parquet', 'events-0001.parquet')
    """
    return f"events-{number:04d}.parquet" if number else "events.parquet"


def write_part(events: pl.DataFrame, path: Path) -> None:
    """Write a file of events; the same rows give the same bytes."""
    events.rechunk().write_parquet(path, row_group_size=_ROW_GROUP)


class Accepted:
    """Collects accepted rows.

    Args:
        nothing: the columns, and no rows; `LINE` is the last.
        key: of the schema; empty, and all columns together are the key.
        folder: where full parts are written as they come; None, and all rows stay in memory.
    """

    def __init__(self, nothing: pl.DataFrame, key: Sequence[str], folder: Path | None = None) -> None:
        self._nothing, self._folder = nothing, folder
        self._key = key_of(nothing, key)
        self._frames: list[pl.DataFrame] = []
        self._pending = 0
        self._sizes: list[int] = []  # of the parts that are written
        self._hashes: list[NDArray[np.uint64]] = []
        self._times: list[NDArray[np.int64]] = []
        self._lines: list[NDArray[np.int64]] = []
        self._keep = np.zeros(0, np.bool_)

    def add(self, rows: pl.DataFrame) -> None:
        """Take the next rows."""
        self.add_hashed(with_hash(rows, self._key))

    def add_hashed(self, rows: pl.DataFrame) -> None:
        """Take the next rows, whose keys `with_hash` has hashed."""
        self._hashes.append(rows["row_hash"].to_numpy())
        self._times.append(rows["event_time"].to_physical().to_numpy())
        self._lines.append(rows[LINE].to_numpy())
        self._frames.append(rows.drop(LINE))
        self._pending += rows.height
        while self._folder is not None and self._pending > PART_ROWS:
            whole = pl.concat(self._frames)
            self._write(whole.head(PART_ROWS))
            self._frames = [whole.slice(PART_ROWS)]
            self._pending -= PART_ROWS

    def finish(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Leave out the duplicates and put the others in order of time, then line.

        Returns:
            the rows, none if they were to be written to files; and those whose key came before, with their lines, in
            order of arrival.
        """
        duplicates = self._duplicates()
        return self._ordered(), duplicates

    @property
    def count(self) -> int:
        """Count the rows without the duplicates, once it is finished."""
        return int(self._keep.sum())

    def _duplicates(self) -> pl.DataFrame:
        self._keep = np.ones(self._count, np.bool_)
        hashes = _joined(self._hashes, np.uint64)
        order = np.argsort(hashes, kind="stable")
        same = hashes[order[1:]] == hashes[order[:-1]]
        if not same.any():
            return self._nothing
        alike = np.zeros(self._count, np.bool_)
        alike[order[1:][same]] = alike[order[:-1][same]] = True
        at = np.flatnonzero(alike)
        rows = self._at(at)
        again = ~rows.select(pl.struct(self._key).is_first_distinct()).to_series()
        self._keep[at[again.to_numpy()]] = False
        lines = _joined(self._lines, np.int64)[at]
        return rows.drop("row_hash").with_columns(pl.Series(LINE, lines)).filter(again)

    def _ordered(self) -> pl.DataFrame:
        order = self._order()
        if self._folder is None or not self._sizes:
            events = self._rows() if order is None else self._rows()[order]
            if self._folder is None:
                return events
            self._write_all(iter([events]))
        elif order is None:
            self._write(pl.concat(self._frames))
        else:
            starts = range(0, len(order), PART_ROWS)
            self._write_all(self._at(order[start : start + PART_ROWS]) for start in starts)
        return self._nothing

    @property
    def _count(self) -> int:
        return sum(self._sizes) + self._pending

    def _order(self) -> NDArray[np.intp] | None:
        """Return which rows make the day, in their order; None if it is all of them, as they came."""
        times, lines = _joined(self._times, np.int64), _joined(self._lines, np.int64)
        later = times[1:] > times[:-1]
        later |= (times[1:] == times[:-1]) & (lines[1:] >= lines[:-1])
        if later.all() and self._keep.all():
            return None
        kept = np.flatnonzero(self._keep)
        return kept[np.lexsort((lines[kept], times[kept]))]

    def _rows(self) -> pl.DataFrame:
        events = self._nothing.drop(LINE).with_columns(row_hash=pl.lit(None, pl.UInt64))
        return pl.concat(self._frames) if self._frames else events

    def _write(self, events: pl.DataFrame) -> None:
        assert self._folder is not None
        write_part(events, self._folder / part_name(len(self._sizes)))
        self._sizes.append(events.height)

    def _write_all(self, parts: Iterator[pl.DataFrame]) -> None:
        """Write all rows anew, aside as long as the old files are read."""
        assert self._folder is not None
        old, written = len(self._sizes), 0
        for written, events in enumerate(parts, start=1):
            write_part(events, self._folder / f"new-{part_name(written - 1)}")
        for number in range(old):
            (self._folder / part_name(number)).unlink()
        for number in range(written):
            (self._folder / f"new-{part_name(number)}").rename(self._folder / part_name(number))

    def _at(self, index: NDArray[np.intp]) -> pl.DataFrame:
        """Return rows by their place in order of arrival, in the order asked for; one part is in memory at a time."""
        found, places, start = [], [], 0
        for number, size in enumerate([*self._sizes, self._pending]):
            here = np.flatnonzero((index >= start) & (index < start + size))
            if here.size:
                found.append(self._part(number)[index[here] - start])
                places.append(here)
            start += size
        back = np.argsort(np.concatenate(places), kind="stable")
        return pl.concat(found)[back]

    def _part(self, number: int) -> pl.DataFrame:
        if number == len(self._sizes):
            return self._rows()
        assert self._folder is not None
        return pl.read_parquet(self._folder / part_name(number))


def _joined(arrays: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *arrays])


def key_of(nothing: pl.DataFrame, key: Sequence[str]) -> list[str]:
    """Return the columns that tell one row from another: the schema's key, or all of them but `LINE`, the last."""
    return list(key) or nothing.columns[:-1]


def with_hash(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return rows with the hash of their keys, as the last column before `LINE`."""
    hashed = pl.Series("row_hash", hash_keys(rows.select(key)), dtype=pl.UInt64)
    return rows.select(pl.exclude(LINE), hashed, LINE)


def hash_keys(key: pl.DataFrame) -> NDArray[np.uint64]:
    """Hash each row's key (N,), the same on every machine and with every library version (SipHash, fixed key)."""
    from pandas.util import hash_array  # a third of a second, which only `ingest` needs

    columns = [as_text(c, key.schema[c]) for c in key.columns]
    text = key.select(pl.concat_str(columns, separator="\x1f", ignore_nulls=True)).to_series()
    return np.asarray(hash_array(text.to_numpy(allow_copy=True).astype(object), categorize=False))
