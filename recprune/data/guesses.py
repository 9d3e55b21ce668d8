"""What a column probably is, from its name and its first values. Every guess says why, for people to judge."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice, pairwise
from typing import Literal

import polars as pl
import pyarrow as pa

from recprune.data.sources.clock import Clock
from recprune.data.sources.sample import Sample

LABELS = ("click", "clicked", "is_click", "is_clicked", "label", "target", "y", "converted", "conversion", "liked")
TIMES = ("event_time", "time", "timestamp", "ts", "at", "datetime", "date_time", "created_at", "hour", "date", "day")
WEIGHTS = ("weight", "sample_weight", "row_weight", "importance")
_TIME_WORD = re.compile(r"(^|_)(time|timestamp|ts|at|date|datetime|day|hour|when|created|clock)($|_)|time$|date$", re.I)
_ID_WORD = re.compile(
    r"(^|_)(id|ids|code|key|hash|zip|sku|category|type|class|segment|slot|channel)$|[a-z]Id$|^C\d+$", re.I
)
_NUMBER_WORD = re.compile(
    r"(^|_)(price|age|count|cnt|n|num|amount|qty|quantity|duration|score|ratio|rate|size|length|width|height|distance|"
    r"position|rank|year|minutes|seconds|days|views|total|avg|mean|sum)($|_)", re.I
)  # fmt: skip
AFTER_WORD = re.compile(
    r"click|dwell|convert|conversion|revenue|purchase|rating|bought|order|discount|profit|paid|liked|label|target", re.I
)
"""Names of what is often known only afterwards."""
_REQUEST_WORD = re.compile(r"request|impression|session|query|search|auction|basket", re.I)
_FORMATS = (
    "iso", "unix", "unix_ms", "unix_us", "%Y%m%d", "%y%m%d%H", "%Y%m%d%H", "%Y%m%d%H%M%S", "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y", "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y",
)  # fmt: skip
_PLAUSIBLE = (date(1990, 1, 1), date(2100, 1, 1))
_LIST_SEPARATORS = ("|", ";", ",", " ")
_DIGITS = 6
"""Digits that a time has at least: 1/2/2024."""
_MOSTLY = 0.98
_FEW = 50
Values = Sequence[str | None]
Per = Literal["row", "request"]


@dataclass(frozen=True, slots=True)
class Guess:
    """One setting, and why."""

    value: str
    """As it is written in params.yaml."""
    why: str


def given(values: Values) -> list[str]:
    """Return the values that are there."""
    return [value for value in values if value is not None]


def is_binary(values: Values) -> bool:
    """Say whether a column holds 0 and 1 alone, both of them."""
    return {value.removesuffix(".0") for value in given(values)} == {"0", "1"} and None not in values


def is_whole(values: Values) -> bool:
    """Say whether all values are whole numbers that an int64 id holds."""
    found = given(values)
    return bool(found) and all(re.fullmatch(r"-?\d{1,18}", value) for value in found)


def is_number(values: Values) -> bool:
    """Say whether all values are numbers."""
    found = given(values)
    return bool(found) and pl.Series(found).cast(pl.Float64, strict=False).null_count() == 0


def label_candidates(sample: Sample) -> list[str]:
    """Return the columns that may be the label, the likeliest first."""
    found = []
    for name, values in sample.columns.items():
        as_json = sample.format == "jsonl" and sample.kinds[name] == "boolean"
        as_parquet = sample.format == "parquet" and sample.kinds[name] == "boolean"
        if is_binary(values) or ((as_json or as_parquet) and set(values) == {"true", "false"}):
            found.append(name)
    return sorted(found, key=lambda name: _rank(name, LABELS))


def time_candidates(sample: Sample) -> list[tuple[str, list[str], list[date]]]:
    """Return the columns that may be the event time, the likeliest first: name, formats that fit, days of the rows."""
    found = []
    for name, values in sample.columns.items():
        often = len(given(values)) >= _MOSTLY * len(values)  # a row without a time is no row
        fitting = list(_formats(sample, name, values)) if often else []
        if fitting:
            found.append((name, [text for text, _ in fitting], fitting[0][1]))
    return sorted(found, key=lambda each: (_rank(each[0], TIMES), each[1][0] != "iso"))


def _formats(sample: Sample, name: str, values: Values) -> Iterator[tuple[str, list[date]]]:
    kind = sample.kinds[name]
    if kind not in ("text", "whole", "time", "number") or not given(values):
        return
    if kind == "text" and not any(sum(map(str.isdigit, value)) >= _DIGITS for value in islice(given(values), 1000)):
        return
    digits = kind in ("whole", "number") or is_number(values)
    if digits and not _TIME_WORD.search(name):  # a number is a time only where its name says so
        return
    column = pa.array(values, pa.string())
    for text in ("iso",) if kind == "time" else _FORMATS:
        if kind == "time":
            days = pl.Series(values).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
        else:
            days = Clock(name, text).instants(pa.RecordBatch.from_arrays([column], names=[name])).dt.date()
        inside = [day for day in days.drop_nulls().to_list() if _PLAUSIBLE[0] <= day < _PLAUSIBLE[1]]
        if len(inside) >= _MOSTLY * len(given(values)):
            yield text, inside


def _rank(name: str, known: tuple[str, ...]) -> int:
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return known.index(plain) if plain in known else len(known)


def list_separator(values: Values) -> str | None:
    """Return what stands between the ids of a column of lists, or None where it holds none.

    >>> list_separator(["Drama|Comedy", "Comedy", "Drama|Action"]), list_separator(["A fine day", "rain"])
    ('|', None)
    """
    found = given(values)
    for separator in _LIST_SEPARATORS:
        parts = [value.split(separator) for value in found]
        flat = [part for each in parts for part in each if part]
        several = sum(len(each) > 1 for each in parts) >= 0.2 * max(len(found), 1)
        short = all(part == part.strip() and len(part) <= 30 for part in flat)
        again = len(set(flat)) < 0.8 * len(flat) and len(set(flat)) < 1.5 * len(set(found))
        coded = separator in "|;" or all(re.fullmatch(r"[A-Za-z]*\d+", part) for part in flat)
        if several and short and again and coded:
            return separator
    return None


def feature(sample: Sample, name: str, per: Per) -> Guess | str:
    """Return what a column is as a feature, or why it is none."""
    values, kind = sample.columns[name], sample.kinds[name]
    found = given(values)
    where = ", per: request" if per == "request" else ""
    if kind == "other":
        return "its type is none that a feature has"
    if len(set(found)) <= 1:
        return "it is the same in all rows" if found else "it is empty in all rows"
    if kind.startswith("list of"):
        dtype = "int64" if kind == "list of whole" else "string"
        return Guess(f"{{type: {dtype}, many: mean, most: {_most(found, '|')}{where}}}", "lists of ids; mean or sum")
    if kind in ("boolean", "time"):
        word = {"boolean": "boolean", "time": "date"}[kind]
        return Guess(f"{{type: {word}{where}}}", "as the file says")
    if set(map(str.lower, found)) <= {"true", "false", "yes", "no", "0", "1"} and kind == "text":
        return Guess(f"{{type: boolean{where}}}", "two values")
    if kind in ("whole", "number") or (sample.format != "parquet" and is_number(values)):
        return _number(name, values, kind == "number", where)
    return _text(sample, name, found, where)


def _number(name: str, values: Values, is_float: bool, where: str) -> Guess:
    number, ids = f"{{type: numeric{where}}}", f"{{type: int64{where}}}"
    different = len(set(given(values)))
    if is_float or not is_whole(values):
        return Guess(number, "a number")
    if _ID_WORD.search(name):
        return Guess(ids, "whole numbers, and an id by its name; a number instead: type: numeric")
    if _NUMBER_WORD.search(name):
        return Guess(number, "a number by its name; an id instead: type: int64")
    if different <= _FEW:
        return Guess(ids, f"AMBIGUOUS: {different} different whole numbers, taken for ids; a number: type: numeric")
    return Guess(number, f"AMBIGUOUS: {different} different whole numbers, taken for a number; ids: type: int64")


def _text(sample: Sample, name: str, found: list[str], where: str) -> Guess | str:
    times = list(_formats(sample, name, sample.columns[name]))
    if times and times[0][0] == "iso":
        return Guess(f"{{type: date{where}}}", "times, as days since 1970-01-01")
    separator = list_separator(found)
    if separator is not None:
        whole = sample.format != "parquet" and all(is_whole(value.split(separator)) for value in found[:1000])
        dtype = "int64" if whole else "string"
        shape = f"many: mean, most: {_most(found, separator)}, separator: {separator!r}".replace("'", '"')
        return Guess(
            f"{{type: {dtype}, {shape}{where}}}",
            f"AMBIGUOUS: many hold {separator!r}, taken for lists; else remove many, most and separator",
        )
    if sum(map(len, found)) / len(found) > 40 and len(set(found)) > 0.5 * len(found):
        return "it is free text, which no model here reads"
    return Guess(f"{{type: string{where}}}", f"ids as text, {len(set(found))} different ones")


def _most(found: list[str], separator: str) -> int:
    lengths = sorted(value.count(separator) + 1 for value in found)
    return max(2, lengths[int(0.98 * (len(lengths) - 1))])


def keys(sample: Sample, used: set[str]) -> list[str]:
    """Return the columns that tell the rows apart: one that is unique, or a request and one more; else none."""
    rest = [name for name in sample.columns if name not in used and _may_tell_apart(sample, name)]
    size = len(next(iter(sample.columns.values())))
    if size < 2:
        return []
    unique = [name for name in rest if len(set(sample.columns[name])) == size]
    by_name = [name for name in unique if _ID_WORD.search(name)]
    if by_name:
        return by_name[:1]
    for request in (name for name in rest if _REQUEST_WORD.search(name)):
        for other in rest:
            pairs = set(zip(sample.columns[request], sample.columns[other], strict=True))
            if other != request and _ID_WORD.search(other) and len(pairs) == size:
                return [request, other]
    return unique[:1]


def _may_tell_apart(sample: Sample, name: str) -> bool:
    """Say whether a column is always there, and neither a real number nor a text."""
    values = sample.columns[name]
    short = all(value is not None and len(value) <= 40 and " " not in value for value in values)
    return short and sample.kinds[name] in ("text", "whole") and not _is_real(values)


def _is_real(values: Values) -> bool:
    return is_number(values) and not is_whole(values)


def same_within(sample: Sample, request: str, name: str) -> bool:
    """Say whether a column never changes within a request, of requests with several rows."""
    pairs = sorted(zip(sample.columns[request], sample.columns[name], strict=True), key=str)
    together = [(a, b) for a, b in pairwise(pairs) if a[0] == b[0]]
    return len(together) > 0 and all(a[1] == b[1] for a, b in together)
