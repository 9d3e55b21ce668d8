"""When a row happened, as a source writes it: ISO 8601, Unix time, or a pattern of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from recprune.data.calendar import within_calendar
from recprune.data.values import instant

_UNIX = {"unix": 1_000_000, "unix_ms": 1_000, "unix_us": 1}
"""Microseconds in one unit."""
_EARLIEST, _LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, in microseconds."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A column of times and how they are written; UTC where they name no zone."""

    column: str
    format: str = "iso"
    """`iso`, `unix` (seconds), `unix_ms`, `unix_us`, or a pattern as of strptime: `%y%m%d%H`."""

    def instants(self, rows: pa.RecordBatch) -> pl.Series:
        """Return when each row happened, null where that cannot be read or is no year from 1 to 9999."""
        if rows.schema.names.count(self.column) != 1:
            return pl.Series([None] * rows.num_rows, dtype=pl.Datetime("us", "UTC"))
        frame = pl.DataFrame({"time": pl.Series(pl.from_arrow(_plain(rows.column(self.column))))})
        found = self._expression(frame)
        micros = found.dt.timestamp("us")
        return frame.select(time=pl.when(micros.is_between(_EARLIEST, _LATEST)).then(found)).to_series()

    def put(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows with their times as ISO 8601 text, or as instants where they were numbers.

        Text that is no time stays as it is, for the reason why the row is set aside to show it.
        """
        if self.format == "iso" or rows.schema.names.count(self.column) != 1:
            return rows
        at, found = rows.schema.names.index(self.column), self.instants(rows)
        if pa.types.is_string(rows.column(at).type) or pa.types.is_string_view(rows.column(at).type):
            written = found.dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ").to_arrow().cast(pa.string())
            column = pa.compute.coalesce(written, rows.column(at).cast(pa.string()))
        else:
            column = found.to_arrow()
        return rows.set_column(at, self.column, column)

    def _expression(self, frame: pl.DataFrame) -> pl.Expr:
        if self.format == "iso":
            return instant(frame, "time")
        if self.format in _UNIX:
            return _of_unix(_UNIX[self.format])
        text = pl.col("time").cast(pl.String, strict=False).str.strip_chars()
        return _parsed(text, self.format)


def _of_unix(scale: int) -> pl.Expr:
    whole = pl.col("time").cast(pl.Int64, strict=False).cast(pl.Int128) * scale
    parts = (pl.col("time").cast(pl.Float64, strict=False) * scale).round()
    finite = pl.when(parts.is_between(_EARLIEST, _LATEST)).then(parts).cast(pl.Int128, strict=False)
    micros = pl.coalesce(whole, finite)
    inside = pl.when(micros.is_between(_EARLIEST, _LATEST)).then(micros)
    return inside.cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _parsed(text: pl.Expr, pattern: str) -> pl.Expr:
    """Read each value for itself; a pattern without minutes gets them, for Polars wants hour and minute or neither."""
    pattern = pattern.replace(".%f", "%.f").replace("%f", "%6f")  # as Polars writes them
    if "%H" in pattern and "%M" not in pattern:
        text, pattern = text + ":00", pattern + ":%M"
    return text.str.to_datetime(pattern, time_unit="us", strict=False, exact=True).dt.replace_time_zone("UTC")


def _plain(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) and column.type.tz:  # Polars does not know every name of a zone
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return within_calendar(column)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return pa.nulls(len(column), pa.string())
    return column


def problems_of_format(text: str) -> Iterator[str]:
    """Say why a format of times cannot be used, if so."""
    if text == "iso" or text in _UNIX:
        return
    example = datetime(2024, 3, 5, 17, 40, 9)
    written = example.strftime(text)
    read = pl.DataFrame({"time": [written]}).select(_parsed(pl.col("time"), text)).item() if "%" in text else None
    if read is None or read.date() != example.date():
        yield (
            f"time_format is {text!r}; it must be iso, unix, unix_ms, unix_us, or a pattern that tells a day, as "
            "%Y-%m-%d %H:%M:%S or %y%m%d%H does."
        )
