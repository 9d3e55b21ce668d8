"""From raw rows to typed events: each row is accepted, or set aside with a reason.

accepted + rejected + duplicate + late = read, always.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from recprune.data.schema import MISSING_INT, MISSING_STRING, Feature, Schema
from recprune.data.sources.source import RawBatch

ASIDE = {"kind": pl.String, "line": pl.Int64, "reason": pl.String, "raw": pl.String}
"""Columns of the rows set aside; kind is rejected, duplicate or late."""

_DTYPES: dict[str, Any] = {"float32": pl.Float32, "int64": pl.Int64, "string": pl.String}


@dataclass(slots=True)
class DayOfEvents:
    """What a source delivered for a day."""

    events: pl.DataFrame
    """Accepted events in order of time: key columns, event_time, label, row_hash, features."""
    aside: pl.DataFrame
    counts: dict[str, int]
    """read, accepted, rejected, duplicate, late."""
    problems: list[str]
    """What is wrong with the delivery as a whole; each one quarantines the day."""


@dataclass(slots=True)
class _Checked:
    accepted: list[pl.DataFrame] = field(default_factory=list)
    aside: list[pl.DataFrame] = field(default_factory=list)
    problems: dict[str, None] = field(default_factory=dict)  # ordered set
    read: int = 0


def read_events(batches: Iterable[RawBatch], schema: Schema, day: date, *, text: bool) -> DayOfEvents:
    """Type and check a day's rows.

    Args:
        batches: the rows as the source has them.
        schema: what they mean.
        day: rows of other days are set aside as late.
        text: every column arrives as text (CSV), so that types are judged by value alone.
    """
    seen = _Checked()
    for batch in batches:
        _check_batch(batch, schema, day, text, seen)
    events = pl.concat(seen.accepted) if seen.accepted else _no_events(schema)
    key = list(schema.key) or [c for c in events.columns if c != "line"]
    first = events.select(pl.struct(key).is_first_distinct()).to_series()
    duplicates = events.filter(~first)
    if not duplicates.is_empty():
        seen.aside.append(_set_aside(duplicates, "duplicate", pl.lit("the key was seen before"), key))
    events = events.filter(first).sort("event_time", "line", maintain_order=True)
    events = events.with_columns(row_hash=pl.Series(_hash(events.select(key)), dtype=pl.UInt64)).drop("line")
    aside = pl.concat(seen.aside).sort("line", maintain_order=True) if seen.aside else pl.DataFrame(schema=ASIDE)
    kinds = dict(aside.group_by("kind").len().iter_rows())
    counts = {"read": seen.read, "accepted": events.height}
    counts |= {kind: kinds.get(kind, 0) for kind in ("rejected", "duplicate", "late")}
    return DayOfEvents(events=events, aside=aside, counts=counts, problems=list(seen.problems))


def _check_batch(batch: RawBatch, schema: Schema, day: date, text: bool, seen: _Checked) -> None:
    raw = pl.DataFrame(batch.rows).with_columns(line=pl.Series(batch.lines, dtype=pl.Int64))
    seen.read += raw.height + len(batch.broken)
    if batch.broken:
        rows = [("rejected", b.line, b.reason, b.text) for b in batch.broken]
        seen.aside.append(pl.DataFrame(rows, schema=ASIDE, orient="row"))
    seen.problems |= dict.fromkeys(_column_problems(raw, schema, text))
    typed, reasons = _type_columns(raw, schema)
    reason = pl.coalesce(*reasons)
    other_day = pl.col("event_time").dt.date() != day
    typed = typed.with_columns(reason=reason)
    bad, good = pl.col("reason").is_not_null(), pl.col("reason").is_null()
    columns = batch.rows.schema.names
    for kind, rows, why in (
        ("rejected", bad, pl.col("reason")),
        ("late", good & other_day, "belongs to " + pl.col("event_time").dt.date().cast(pl.String)),
    ):
        chosen = typed.select(rows).to_series()
        if chosen.any():
            seen.aside.append(_set_aside(raw.filter(chosen), kind, typed.filter(chosen).select(why).to_series(), columns))
    seen.accepted.append(typed.filter(good & ~other_day).select(_no_events(schema).columns))


def _no_events(schema: Schema) -> pl.DataFrame:
    columns: dict[str, Any] = dict.fromkeys(schema.key, pl.String)
    columns |= {"event_time": pl.Datetime("us", "UTC"), "label": pl.Int8}
    columns |= {f.name: _DTYPES[f.dtype] for f in schema.features}
    return pl.DataFrame(schema={**columns, "line": pl.Int64})


def _column_problems(raw: pl.DataFrame, schema: Schema, text: bool) -> Iterator[str]:
    wanted = [schema.label, schema.time, *schema.key, *(f.name for f in schema.features)]
    for name in dict.fromkeys(wanted):
        if name not in raw.columns:
            yield f"column {name} is missing"
    for feature in schema.features:
        if feature.name in raw.columns and not text and not _fits(raw.schema[feature.name], feature):
            found = str(raw.schema[feature.name])
            yield f"column {feature.name} is of type {found}; the schema says {feature.dtype}"


def _fits(found: pl.DataType, feature: Feature) -> bool:
    if found == pl.Null:
        return True
    if feature.type == "numeric":
        return found.is_numeric() or found == pl.Boolean
    if feature.dtype == "int64":
        return found.is_integer()
    return found.base_type() in (pl.String, pl.Categorical, pl.Enum)


def _type_columns(raw: pl.DataFrame, schema: Schema) -> tuple[pl.DataFrame, list[pl.Expr]]:
    """Return typed columns and, per rule, an expression: the reason a row breaks it, or null."""
    label, label_reason = _label(raw, schema.label)
    time, time_reason = _time(raw, schema.time)
    columns, reasons = [label, time], [label_reason, time_reason]
    for feature in schema.features:
        column, reason = _feature(raw, feature)
        columns.append(column)
        reasons.append(reason)
    names = {f.name for f in schema.features}
    for name in schema.key:
        if name not in names:
            columns.append(_column(raw, name, pl.String).alias(name))
    typed = raw.select(*columns, "line", *(r.alias(f"@{i}") for i, r in enumerate(reasons)))
    keys = [pl.col(name).cast(pl.String) for name in schema.key if name not in names]
    return typed.with_columns(keys), [pl.col(f"@{i}") for i in range(len(reasons))]


def _column(raw: pl.DataFrame, name: str, dtype: Any) -> pl.Expr:
    return pl.col(name).cast(dtype, strict=False) if name in raw.columns else pl.lit(None, dtype=dtype)


def _label(raw: pl.DataFrame, name: str) -> tuple[pl.Expr, pl.Expr]:
    value = _column(raw, name, pl.Float64)
    shown = _column(raw, name, pl.String).fill_null("missing").str.slice(0, 40)
    bad = value.is_null() | value.is_nan() | ~value.is_in([0.0, 1.0])
    reason = pl.when(bad).then(pl.lit(f"label {name} is not 0 or 1: ") + shown)
    return pl.when(~bad).then(value).cast(pl.Int8).alias("label"), reason


def _time(raw: pl.DataFrame, name: str) -> tuple[pl.Expr, pl.Expr]:
    dtype = raw.schema.get(name, pl.Null())
    value = _column(raw, name, pl.Datetime("us", "UTC"))
    if isinstance(dtype, pl.String):
        value = pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    elif isinstance(dtype, pl.Datetime):
        zone = dtype.time_zone
        value = pl.col(name).dt.cast_time_unit("us")
        value = value.dt.convert_time_zone("UTC") if zone else value.dt.replace_time_zone("UTC")
    shown = _column(raw, name, pl.String).fill_null("missing").str.slice(0, 40)
    return value.alias("event_time"), pl.when(value.is_null()).then(pl.lit(f"time {name} is no time: ") + shown)


def _feature(raw: pl.DataFrame, feature: Feature) -> tuple[pl.Expr, pl.Expr]:
    name = feature.name
    given = pl.col(name).is_not_null() if name in raw.columns else pl.lit(False)
    if name in raw.columns and raw.schema[name] == pl.String:
        given = given & (pl.col(name) != "")
    shown = _column(raw, name, pl.String).str.slice(0, 40)
    if feature.type == "numeric":
        value = _column(raw, name, pl.Float64)
        whole = value.cast(pl.Float32)
        reason = (
            pl.when(given & value.is_null())
            .then(pl.lit(f"{name} is not a number: ") + shown)
            .when(whole.is_infinite())
            .then(pl.lit(f"{name} is not finite: ") + shown)
        )
        return whole.fill_null(float("nan")).alias(name), reason
    if feature.dtype == "int64":
        ident = _column(raw, name, pl.Int64)
        reason = pl.when(given & ident.is_null()).then(pl.lit(f"{name} is not a whole number: ") + shown)
        return ident.fill_null(MISSING_INT).alias(name), reason
    return _column(raw, name, pl.String).fill_null(MISSING_STRING).alias(name), pl.lit(None, dtype=pl.String)


def _set_aside(rows: pl.DataFrame, kind: str, reason: pl.Series | pl.Expr, columns: list[str]) -> pl.DataFrame:
    raw = [json.dumps(row, default=str, ensure_ascii=False) for row in rows.select(columns).iter_rows(named=True)]
    return rows.select(
        kind=pl.lit(kind), line=pl.col("line"), reason=reason, raw=pl.Series(raw, dtype=pl.String)
    )


def _hash(key: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Hash each row's key, the same on every machine and with every library version (SipHash, fixed key)."""
    text = key.select(pl.concat_str(pl.all().cast(pl.String), separator="\x1f", ignore_nulls=True)).to_series()
    return pd.util.hash_array(text.to_numpy(allow_copy=True).astype(object), categorize=False)
