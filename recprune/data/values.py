"""From a source's column to a typed one: a value per row, or the reason why it is none."""

from typing import Any, NamedTuple

import polars as pl

from recprune.data.schema import Feature

_ISO_TIME = r"""(?x) ^
    ([0-9]{4}-[0-9]{2}-[0-9]{2})
    (?: [T\ ] ([0-9]{2}:[0-9]{2}) (:[0-9]{2} (?: \.[0-9]{1,9} )? )? )?
    (?: Z | ([+-][0-9]{2}) :? ([0-9]{2})? )? $"""
_DTYPES: dict[str, Any] = {"float32": pl.Float32, "int64": pl.Int64, "string": pl.String}
_SHOWN = 40
"""Characters of a value that a reason shows."""
_DAY_US = 86_400_000_000
_TRUE, _FALSE = ["1", "true", "t", "yes", "y"], ["0", "false", "f", "no", "n"]


def dtype_of(feature: Feature) -> Any:
    """Return the type of a feature's column in the event partition."""
    return _DTYPES[feature.dtype] if feature.pooling is None else pl.List(_DTYPES[feature.dtype])


def column(raw: pl.DataFrame, name: str, dtype: Any) -> pl.Expr:
    """Return a column as another type, null where it does not fit or where there is no such column."""
    return pl.col(name).cast(dtype, strict=False) if name in raw.columns else pl.lit(None, dtype=dtype)


def shown(raw: pl.DataFrame, name: str) -> pl.Expr:
    """Return the beginning of each value, for people."""
    text = as_text(name, raw.schema[name]) if name in raw.columns else pl.lit(None, dtype=pl.String)
    return text.fill_null("missing").str.slice(0, _SHOWN)


def as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column as text; of a list its values one after the other."""
    if isinstance(dtype, pl.List | pl.Array):
        lists = pl.col(name).cast(pl.List(pl.String), strict=False)
        return lists.list.eval(pl.element().fill_null("missing")).list.join("\x1e")
    return pl.col(name).cast(pl.String, strict=False)


def instant(raw: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column of times as instants, UTC where it names no zone; null where it is none."""
    dtype = raw.schema.get(name, pl.Null())
    if isinstance(dtype, pl.String):
        return _iso_time(pl.col(name))
    if isinstance(dtype, pl.Datetime | pl.Date):
        return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.lit(None, dtype=pl.Datetime("us", "UTC"))


def _iso_time(text: pl.Expr) -> pl.Expr:
    """Read ISO 8601 text, UTC where it names no zone; each value for itself, whatever the others are."""
    part = text.str.strip_chars().str.extract_groups(_ISO_TIME).struct
    clock, seconds = part.field("2").fill_null("00:00"), part.field("3").fill_null(":00")
    zone = part.field("4").fill_null("+00") + part.field("5").fill_null("00")
    whole = part.field("1") + " " + clock + seconds + zone
    return whole.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False)


class Typed(NamedTuple):
    """A typed column, and why some of its values are none."""

    value: pl.Expr
    bad: pl.Expr
    """Which rows have a value that is none, never null."""
    reason: pl.Expr
    """Text for such rows; the same of any other means nothing. It is long to make, and few rows need it."""


def feature_value(raw: pl.DataFrame, feature: Feature) -> Typed:
    """Return a feature's values, named after it."""
    if feature.pooling is not None:
        return _list(raw, feature)
    if feature.type == "numeric":
        return _number(raw, feature)
    name = feature.name
    if feature.dtype == "int64":
        ident = column(raw, name, pl.Int64)
        bad, reason = _given(raw, name) & ident.is_null(), _not("a whole number", raw, name)
        return Typed(ident.fill_null(feature.missing).alias(name), bad, reason)
    return Typed(column(raw, name, pl.String).fill_null(feature.missing).alias(name), pl.lit(False), pl.lit(""))


def _number(raw: pl.DataFrame, feature: Feature) -> Typed:
    name, what = feature.name, {"number": "a number", "boolean": "true or false", "date": "a date"}[feature.reading]
    value = {"number": _real, "boolean": _boolean, "date": _days}[feature.reading](raw, name)
    whole = value.cast(pl.Float32)
    unread = _given(raw, name) & value.is_null()
    reason = pl.when(unread).then(_not(what, raw, name)).otherwise(_not("finite", raw, name))
    return Typed(whole.fill_null(float("nan")).alias(name), unread | whole.is_infinite().fill_null(False), reason)


def _real(raw: pl.DataFrame, name: str) -> pl.Expr:
    return column(raw, name, pl.Float64)


def _boolean(raw: pl.DataFrame, name: str) -> pl.Expr:
    if isinstance(raw.schema.get(name), pl.String):
        word = pl.col(name).str.strip_chars().str.to_lowercase()
        return pl.when(word.is_in(_TRUE)).then(1.0).when(word.is_in(_FALSE)).then(0.0)
    value = column(raw, name, pl.Float64)
    return pl.when(value.is_in([0.0, 1.0]) | value.is_nan()).then(value)


def _days(raw: pl.DataFrame, name: str) -> pl.Expr:
    """Return days since 1970-01-01, UTC; numbers are such already."""
    if name in raw.columns and raw.schema[name].is_numeric():
        return column(raw, name, pl.Float64)
    return instant(raw, name).dt.timestamp("us").cast(pl.Float64) / _DAY_US


def _list(raw: pl.DataFrame, feature: Feature) -> Typed:
    """Return lists of ids without the missing ones; a missing list is empty."""
    name, dtype = feature.name, _DTYPES[feature.dtype]
    if name not in raw.columns:
        return Typed(pl.lit([], dtype=pl.List(dtype)).alias(name), pl.lit(False), pl.lit(""))
    found = raw.schema[name]
    lists = pl.col(name) if isinstance(found, pl.List | pl.Array) else pl.col(name).cast(pl.String)
    if not isinstance(found, pl.List | pl.Array):
        lists = lists.str.split(feature.separator)
    given = lists.cast(pl.List(pl.String)).list.eval(_there(pl.element(), str(feature.missing)))
    ids = given.cast(pl.List(dtype), strict=False)
    bad = ids.list.eval(pl.element().is_null()).list.any().fill_null(False)
    # a null list must not become a null; eval leaves it one
    value = pl.when(ids.is_null()).then(pl.lit([], dtype=pl.List(dtype))).otherwise(ids).alias(name)
    return Typed(value, bad, _not("a list of whole numbers", raw, name))


def _there(element: pl.Expr, missing: str) -> pl.Expr:
    return element.filter(element.is_not_null() & ~element.is_in(["", missing]))


def _given(raw: pl.DataFrame, name: str) -> pl.Expr:
    given = pl.col(name).is_not_null() if name in raw.columns else pl.lit(False)
    if name in raw.columns and raw.schema[name] == pl.String:
        given = given & (pl.col(name) != "")
    return given


def _not(what: str, raw: pl.DataFrame, name: str) -> pl.Expr:
    return pl.lit(f"{name} is not {what}: ") + shown(raw, name)
