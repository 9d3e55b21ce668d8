"""From raw rows to typed events: each row is accepted, or set aside with a reason.

accepted + rejected + duplicate + late = read, always.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa

from recprune.data.accepted import LINE, Accepted
from recprune.data.ahead import ahead
from recprune.data.calendar import within_calendar
from recprune.data.proposal import column_types
from recprune.data.schema import Feature, Schema
from recprune.data.sources.source import RawBatch
from recprune.data.values import Typed, column, dtype_of, feature_value, instant, shown

ASIDE = {"kind": pl.String, "line": pl.Int64, "reason": pl.String, "raw": pl.String}
"""Columns of the rows set aside; kind is rejected, duplicate or late."""

_REASON = "\0reason"
"""Column of our own beside the source's, which may have any name."""


@dataclass(slots=True)
class DayOfEvents:
    """What a source delivered for a day."""

    events: pl.DataFrame
    """Accepted events in order of time: key columns, event_time, label, row_weight if there is one, features, row_hash.
    """
    aside: pl.DataFrame
    counts: dict[str, int]
    """read, accepted, rejected, duplicate, late."""
    problems: list[str]
    """What is wrong with the delivery as a whole; each one quarantines the day."""
    columns: dict[str, str] = field(default_factory=dict)
    """The delivery's columns, those that the schema does not name too; see `column_types`."""


class Takes(Protocol):
    """What takes the accepted rows."""

    def add(self, rows: pl.DataFrame) -> None:
        """Take the next rows: the columns of `no_events`."""
        ...


@dataclass(slots=True)
class Checked:
    """What was found while rows were checked, besides those that were accepted."""

    aside: list[pl.DataFrame] = field(default_factory=list)
    problems: dict[str, None] = field(default_factory=dict)  # ordered set
    columns: dict[str, str] = field(default_factory=dict)
    read: int = 0

    def day(self, accepted: Accepted) -> DayOfEvents:
        """Make the day of all that was found and accepted."""
        events, duplicates = accepted.finish()
        if not duplicates.is_empty():
            columns = duplicates.columns[:-1]
            self.aside.append(_set_aside(duplicates, "duplicate", pl.lit("the key was seen before"), columns))
        aside = whole_aside(self.aside).sort("line", maintain_order=True)
        kinds = dict(aside.group_by("kind").len().iter_rows())
        counts = {"read": self.read, "accepted": accepted.count}
        counts |= {kind: kinds.get(kind, 0) for kind in ("rejected", "duplicate", "late")}
        return DayOfEvents(events, aside, counts, problems=list(self.problems), columns=self.columns)


@dataclass(frozen=True, slots=True)
class Check:
    """How a day's rows are checked."""

    schema: Schema
    day: date
    """Rows of other days are set aside as late."""
    text: bool
    """Every column arrives as text (CSV), so that types are judged by value alone."""

    def batches(self, batches: Iterable[RawBatch], seen: Checked, taken: Takes) -> None:
        """Type and check rows as a source has them."""
        for batch in ahead(batches):
            _check_batch(batch, self, seen, taken)


def read_events(batches: Iterable[RawBatch], schema: Schema, day: date, *, text: bool) -> DayOfEvents:
    """Type and check a day's rows.

    Args:
        batches: the rows as the source has them.
        schema: what they mean.
        day: rows of other days are set aside as late.
        text: every column arrives as text (CSV), so that types are judged by value alone.
    """
    accepted = Accepted(no_events(schema), schema.key)
    return _read(batches, Check(schema, day, text), accepted)


def write_events(batches: Iterable[RawBatch], schema: Schema, day: date, folder: Path, *, text: bool) -> DayOfEvents:
    """Type and check a day's rows as `read_events` does, and write the accepted ones to a folder as they come.

    Returns:
        all but the events, which it has none of.
    """
    accepted = Accepted(no_events(schema), schema.key, folder)
    return _read(batches, Check(schema, day, text), accepted)


def _read(batches: Iterable[RawBatch], check: Check, accepted: Accepted) -> DayOfEvents:
    seen = Checked()
    check.batches(batches, seen, accepted)
    return seen.day(accepted)


def _check_batch(batch: RawBatch, check: Check, seen: Checked, taken: Takes) -> None:
    schema, text = check.schema, check.text
    raw = _frame(batch, {f.name for f in schema.features if f.pooling is not None})
    seen.read += raw.height + len(batch.broken)
    if batch.broken:
        broken = [("rejected", b.line, b.reason, b.text) for b in batch.broken]
        seen.aside.append(pl.DataFrame(broken, schema=ASIDE, orient="row"))
    seen.problems |= dict.fromkeys(_column_problems(batch.rows.schema, schema, text))
    seen.columns |= column_types(batch.rows.schema, text=text)
    typed = _type_columns(raw, schema)
    other_day = pl.col("event_time").dt.date() != check.day
    bad, good = pl.col(_REASON).is_not_null(), pl.col(_REASON).is_null()
    columns = [c for c in raw.columns if c != LINE]
    for kind, rows, why in (
        ("rejected", bad, pl.col(_REASON)),
        ("late", good & other_day, "belongs to " + pl.col("event_time").dt.date().cast(pl.String)),
    ):
        chosen = typed.select(rows).to_series()
        if chosen.any():
            reason = typed.filter(chosen).select(why).to_series()
            seen.aside.append(_set_aside(raw.filter(chosen), kind, reason, columns))
    taken.add(typed.filter(good & ~other_day).select(no_events(schema).columns))


def no_events(schema: Schema) -> pl.DataFrame:
    """Return the columns of accepted rows, and no rows; `LINE` is the last."""
    columns: dict[str, Any] = dict.fromkeys(schema.key, pl.String)
    columns |= {"event_time": pl.Datetime("us", "UTC"), "label": pl.Int8}
    columns |= {"row_weight": pl.Float32} if schema.weight else {}
    columns |= {f.name: dtype_of(f) for f in schema.features}
    return pl.DataFrame(schema={**columns, LINE: pl.Int64})


def _frame(batch: RawBatch, lists: Collection[str]) -> pl.DataFrame:
    """Return the rows with their lines; columns of a type that no event has become text.

    Args:
        batch: the rows as the source has them.
        lists: columns that may hold lists.
    """
    rows = batch.rows
    columns: dict[str, pl.Series] = {}
    for name, values in zip(rows.schema.names, rows.columns, strict=True):
        whole = name in lists and _is_list(values.type) and _is_plain(values.type.value_type)
        columns.setdefault(name, pl.Series(name, pl.from_arrow(values if whole else _plain(values))))
    return pl.DataFrame({**columns, LINE: pl.Series(batch.lines, dtype=pl.Int64)})


def _plain(values: pa.Array) -> pa.Array:
    kind = values.type
    if isinstance(values, pa.ChunkedArray) and not _is_plain(kind):
        return _plain(values.combine_chunks())
    if pa.types.is_dictionary(kind):
        return _plain(values.dictionary_decode())
    if pa.types.is_timestamp(kind) and kind.tz not in (None, "UTC"):  # Polars does not know every name of a zone
        return _plain(values.cast(pa.timestamp(kind.unit, "UTC")))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return within_calendar(values)
    if _is_plain(kind):
        return values
    return pa.array([None if v is None else str(v) for v in values.to_pylist()], pa.string())


def _is_plain(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (*_NUMBERS, *_TEXTS, pa.types.is_null))


def _is_list(kind: pa.DataType) -> bool:
    return any((pa.types.is_list(kind), pa.types.is_large_list(kind), pa.types.is_fixed_size_list(kind)))


def _column_problems(found: pa.Schema, schema: Schema, text: bool) -> Iterator[str]:
    dtypes = {schema.label: "", schema.time: "time"} | dict.fromkeys(schema.key, "")
    dtypes |= {schema.weight: "float32"} if schema.weight else {}
    dtypes |= {f.name: _kind_of(f) for f in schema.features}
    for name, dtype in dtypes.items():
        count = found.names.count(name)
        if count == 0:
            yield f"column {name} is missing"
        elif count > 1:
            yield f"column {name} comes {count} times"
        elif not text and not _fits(found.field(name).type, dtype):
            yield f"column {name} is of type {found.field(name).type}; the schema says {dtype}"


_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal128)
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_TIMES = (pa.types.is_timestamp, pa.types.is_date, *_TEXTS)
_FITTING: dict[str, tuple[Any, ...]] = {
    "float32": _NUMBERS,
    "int64": (pa.types.is_integer,),
    "string": _TEXTS,
    "boolean": (*_NUMBERS, *_TEXTS),
    "time": _TIMES,
    "date": (*_TIMES, pa.types.is_integer, pa.types.is_floating),
}


def _kind_of(feature: Feature) -> str:
    """Name what the type of a feature's column must fit."""
    if feature.pooling is not None:
        return f"list of {feature.dtype}"
    return feature.dtype if feature.reading == "number" else feature.reading


def _fits(found: pa.DataType, dtype: str) -> bool:
    """Say whether a column's type is one that a feature or the time may come in; all nulls fit."""
    kind = found.value_type if pa.types.is_dictionary(found) else found
    if dtype.startswith("list of "):  # or text, with separators
        return _fits(kind.value_type, dtype.removeprefix("list of ")) if _is_list(kind) else _fits(kind, "string")
    return not dtype or pa.types.is_null(kind) or any(is_kind(kind) for is_kind in _FITTING[dtype])


def _type_columns(raw: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return typed columns, lines, and the first reason why a row cannot be used, or null."""
    found = [_label(raw, schema.label), _time(raw, schema.time)]
    found += [_weight(raw, schema.weight)] if schema.weight else []
    found += [feature_value(raw, feature) for feature in schema.features]
    names = {f.name for f in schema.features}
    keys = [column(raw, name, pl.String).alias(name) for name in schema.key if name not in names]
    bad = pl.any_horizontal(each.bad for each in found).alias(_REASON)
    typed = raw.select(*(each.value for each in found), *keys, LINE, bad)
    unusable = typed[_REASON]
    if not unusable.any():
        return typed.with_columns(pl.lit(None, pl.String).alias(_REASON))
    why = pl.coalesce(pl.when(each.bad).then(each.reason) for each in found).alias(_REASON)
    reasons = pl.Series([None], dtype=pl.String).new_from_index(0, raw.height)
    reasons = reasons.scatter(unusable.arg_true(), raw.filter(unusable).select(why).to_series())
    return typed.with_columns(reasons.alias(_REASON))


def _label(raw: pl.DataFrame, name: str) -> Typed:
    value = column(raw, name, pl.Float64)
    bad = value.is_null() | value.is_nan() | ~value.is_in([0.0, 1.0])
    whole = pl.when(~bad).then(value).cast(pl.Int8).alias("label")
    return Typed(whole, bad.fill_null(True), pl.lit(f"label {name} is not 0 or 1: ") + shown(raw, name))


def _time(raw: pl.DataFrame, name: str) -> Typed:
    value = instant(raw, name)
    return Typed(value.alias("event_time"), value.is_null(), pl.lit(f"time {name} is no time: ") + shown(raw, name))


def _weight(raw: pl.DataFrame, name: str) -> Typed:
    value = column(raw, name, pl.Float64).cast(pl.Float32)
    bad = value.is_null() | ~value.is_finite() | (value <= 0)
    reason = pl.lit(f"weight {name} is no number above 0: ") + shown(raw, name)
    return Typed(value.alias("row_weight"), bad.fill_null(True), reason)


def whole_aside(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return rows set aside as one frame, in the order they came."""
    return pl.concat(frames) if frames else pl.DataFrame(schema=ASIDE)


def _set_aside(rows: pl.DataFrame, kind: str, reason: pl.Series | pl.Expr, columns: list[str]) -> pl.DataFrame:
    raw = rows_as_text(rows.select(columns))
    return rows.select(kind=pl.lit(kind), line=pl.col(LINE), reason=reason, raw=pl.Series(raw, dtype=pl.String))


def rows_as_text(rows: pl.DataFrame) -> list[str]:
    """Return each row as JSON, for a person to read."""
    times = pl.selectors.temporal().cast(pl.String)  # Python's own end with the year 9999
    shown = rows.with_columns(times).iter_rows(named=True)
    return [json.dumps(row, default=str, ensure_ascii=False) for row in shown]
