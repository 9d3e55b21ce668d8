"""A file that holds many days: read once, and its rows kept by day until the file changes.

They lie as Parquet under `scratch/sources/`, in the file's order, with the day of each. A row whose time cannot
be read, or that is no row at all, is of the day of the row before it (of the first day, at the beginning), so
that every row of the file is of exactly one day.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recprune.data.sources.clock import Clock
from recprune.data.sources.places import shown, version
from recprune.data.sources.source import BrokenRow, RawBatch
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import SCRATCH

ROWS = 65_536
FORMAT = 2
"""Of the rows that are kept, and of how they are read: another number, and every file is read again."""
_ABANDONED = 3600
"""Seconds after which a file that is half written is no longer written."""
NO_DAY = 0
"""Of rows before the first one with a time; day numbers count from 1."""
_OWN = ("day", "line", "reason", "text")
"""Columns of ours, before the source's, which are numbered and may have any name."""


@dataclass(slots=True)
class ManyDays:
    """The rows of one file by day, or by their order."""

    name: str
    reading: str
    """What the rows depend on beside the file: another text, and the file is read again."""
    read: Callable[[], Iterator[RawBatch]]
    clock: Clock | None
    """None: the rows have no time, only an order."""
    _kept: Path | None = field(default=None, init=False)

    def of_day(self, day: date) -> Iterator[RawBatch]:
        """Yield the rows of a day.

        Raises:
            OSError: the file cannot be read or is damaged, or no row has a time that can be read.
        """
        about = self.about()
        if about["rows"] and about["opening"] is None:
            raise OSError(self._no_time())
        wanted = {day.toordinal()} | ({NO_DAY} if about["opening"] == day.toordinal() else set())
        of_the_day = pa.array(sorted(wanted), pa.int32())
        with self._open() as file:
            for group in range(file.num_row_groups):
                told = file.metadata.row_group(group).column(0).statistics
                if told.max >= min(wanted) and told.min <= max(wanted):
                    rows = self._group(file, group)
                    yield from _batch(rows.filter(pc.is_in(rows["day"], of_the_day)), about)

    def of_order(self, first: int, end: int) -> Iterator[RawBatch]:
        """Yield the rows from position `first` to before `end`, from 0."""
        about, at = self.about(), 0
        with self._open() as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if at < end and at + rows > first:
                    low, high = max(first - at, 0), min(end - at, rows)
                    yield from _batch(self._group(file, group).slice(low, high - low), about)
                at += rows

    def about(self) -> dict[str, Any]:
        """Return what was found.

        Rows (their number), names (of the columns), and three day numbers, None where no row has a time: opening
        (of the first row that has one), first and last.
        """
        with self._open() as file:
            about: dict[str, Any] = json.loads(file.metadata.metadata[b"recprune"])
        return about

    def _no_time(self) -> str:
        batch = next(self.of_order(0, 1))
        first = f"; line {batch.broken[0].line}: {batch.broken[0].reason}" if batch.broken else ""
        clock = self.clock or Clock("")
        return f"no row has a time in column {clock.column} that can be read as {clock.format}{first}"

    def _group(self, file: Any, group: int) -> pa.Table:
        try:
            return file.read_row_group(group)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    def _open(self) -> Any:
        if self._kept is None:
            self._kept = self._up_to_date()
        try:
            return pq.ParquetFile(self._kept, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> DamagedArtefactError:
        return DamagedArtefactError(
            f"{self._kept} cannot be read ({error}); it holds the rows of {shown(self.name)} by day and can be made "
            "again: remove it and give the same command once more."
        )

    def _up_to_date(self) -> Path:
        key = hashlib.sha256(f"{FORMAT}\0{self.name}\0{self.reading}\0{self.clock}".encode()).hexdigest()[:16]
        folder, found = SCRATCH / "sources" / key, version(self.name)
        path = folder / f"{found or 'unknown'}.parquet"
        if found is None or not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            aside = folder / f".{os.getpid()}.aside"
            _remove_abandoned(folder)
            try:
                self._sort_out(aside)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
            for older in folder.glob("*.parquet"):
                if older != path:
                    older.unlink(missing_ok=True)
        return path

    def _sort_out(self, path: Path) -> None:
        about: dict[str, Any] = dict.fromkeys(("opening", "first", "last")) | {"rows": 0, "names": []}
        writer, day = None, NO_DAY
        try:
            for batch in self.read():
                table = _table(batch, day_numbers(self.clock, batch.rows))
                days = filled(table["day"].to_numpy(), day)
                table, day = table.set_column(0, "day", pa.array(days, pa.int32())), int(days[-1])
                known = days[days != NO_DAY]
                if known.size:
                    about["opening"] = about["opening"] or int(known[0])
                    about["first"] = min(about["first"] or int(known[0]), int(known.min()))
                    about["last"] = max(about["last"] or 0, int(known.max()))
                about["rows"] += table.num_rows
                about["names"] = batch.rows.schema.names
                with self._writing(path):
                    if writer is None:
                        writer = pq.ParquetWriter(path, table.schema, compression="zstd", write_page_checksum=True)
                    writer.write_table(table, row_group_size=ROWS)
            with self._writing(path):
                if writer is None:
                    writer = pq.ParquetWriter(path, pa.schema([("day", pa.int32())]))
                writer.add_key_value_metadata({"recprune": json.dumps(about)})
                writer.close()
        except BaseException:
            if writer is not None:
                with suppress(OSError, pa.ArrowException):  # what was written goes anyway
                    writer.close()
            raise

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Tell what goes wrong with our own file from what is wrong with the source's."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise RecpruneError(
                f"{path} cannot be written ({error}); the rows of {shown(self.name)} are kept there by day. Make "
                "space, then give the same command again."
            ) from None


def _remove_abandoned(folder: Path) -> None:
    """Remove what a killed process left; what another one writes now is not that old."""
    for aside in folder.glob(".*.aside"):
        with suppress(FileNotFoundError):
            if time.time() - aside.lstat().st_mtime > _ABANDONED:
                aside.unlink()


def day_numbers(clock: Clock | None, rows: pa.RecordBatch) -> NDArray[np.int32]:
    """Return the day number of each row, or `NO_DAY` where its time cannot be read or there is no clock."""
    if clock is None:
        return np.zeros(rows.num_rows, np.int32)
    since_1970 = clock.instants(rows).dt.date().to_physical()
    return (since_1970 + date(1970, 1, 1).toordinal()).fill_null(NO_DAY).to_numpy().astype(np.int32)


def filled(days: NDArray[np.int32], before: int) -> NDArray[np.int32]:
    """Give rows without a day that of the row before them.

    >>> filled(np.array([0, 5, 0, 0, 6], np.int32), 0).tolist()
    [0, 5, 5, 5, 6]
    """
    last = np.maximum.accumulate(np.where(days != NO_DAY, np.arange(1, len(days) + 1), 0))
    return np.concatenate([np.array([before], np.int32), days])[last]


def _table(batch: RawBatch, days: NDArray[np.int32]) -> pa.Table:
    """Return good and broken rows together, by line."""
    good = {"day": pa.array(days), "line": pa.array(batch.lines)}
    good |= {name: pa.nulls(batch.rows.num_rows, pa.string()) for name in ("reason", "text")}
    columns = [*good.values(), *map(_sortable, batch.rows.columns)]
    names = [*_OWN, *(str(n) for n in range(batch.rows.num_columns))]
    table = pa.Table.from_arrays(columns, names=names)
    if not batch.broken:
        return table
    rows = [{"day": NO_DAY, "line": b.line, "reason": b.reason, "text": b.text} for b in batch.broken]
    whole = pa.concat_tables([table, pa.Table.from_pylist(rows, schema=table.schema)])
    return whole.take(pa.array(np.argsort(whole["line"].to_numpy(), kind="stable")))


def _sortable(column: pa.Array) -> pa.Array:
    """Return a column in a type that Arrow can sort and filter: views of text it can only hold."""
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column


def _batch(table: pa.Table, about: dict[str, Any]) -> Iterator[RawBatch]:
    if not table.num_rows:
        return
    is_broken = pc.is_valid(table["reason"])
    broken = tuple(BrokenRow(**row) for row in table.filter(is_broken).select(_OWN[1:]).to_pylist())
    good = table.filter(pc.invert(is_broken)).combine_chunks()
    columns = [column.combine_chunks() for column in good.columns[len(_OWN) :]]
    rows = pa.RecordBatch.from_arrays(columns, names=about["names"])
    yield RawBatch(rows=rows, lines=good["line"].to_numpy(), broken=broken)
