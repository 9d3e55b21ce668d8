"""The first rows of a file that nobody has described yet: its format, how it has its columns, and their values."""

import io
import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import pyarrow as pa

from recprune.data.sources.file_settings import FileFormat
from recprune.data.sources.parquet_batches import checked_batches, open_parquet
from recprune.data.sources.places import open_raw, shown
from recprune.data.sources.records import Dialect, is_utf8, split_records
from recprune.data.sources.streams import open_text
from recprune.errors import SettingsError

ROWS = 20_000
_LONGEST_LINE = 1_000_000
Kind = Literal["text", "whole", "number", "boolean", "time", "list of whole", "list of text", "other"]
_SEPARATORS = (",", "\t", ";", "|", "::")
_ENDINGS: dict[str, FileFormat] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".json": "jsonl",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """Columns of the first rows."""

    format: FileFormat
    dialect: Dialect | None
    """Of csv and tsv."""
    columns: dict[str, list[str | None]]
    """Values as text, None where missing; the values of a list one after the other, with "|" between."""
    kinds: dict[str, Kind]
    """What the file itself says of a column's type; text where it says nothing."""
    whole: bool
    """These are all rows of the file."""
    said: list[str] = field(default_factory=list)
    """What had to be guessed to read it."""


def read_sample(name: str) -> Sample:
    """Read the first rows.

    Raises:
        SettingsError: the file cannot be read as a table, or holds no rows.
    """
    plain = shown(name).lower()
    for packed in (".gz", ".gzip", ".zst", ".zstd"):
        plain = plain.removesuffix(packed)
    found = next((kind for ending, kind in _ENDINGS.items() if plain.endswith(ending)), None)
    try:
        with open_raw(name) as raw:
            is_parquet = raw.peek(4)[:4] == b"PAR1"
        if is_parquet or found == "parquet":
            sample = _parquet(name)
        else:
            lines = _lines(name)
            is_json = found == "jsonl" or (found is None and lines[:1] and lines[0].lstrip().startswith("{"))
            sample = _json(lines) if is_json else _table(lines, found)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # the latter of a Parquet column's name
        raise SettingsError(f"{shown(name)} cannot be read: {shown(str(error))}") from None
    if not sample.columns or not len(next(iter(sample.columns.values()))):
        raise SettingsError(f"{shown(name)} holds no rows to learn a schema from; name a file of a whole day.")
    return sample


def _lines(name: str) -> list[str]:
    with open_text(name) as file:
        lines = [line for line in islice(file, ROWS + 1) if line.strip()]
    if lines and not is_utf8(lines[0]):
        raise OSError("its first line is not valid UTF-8")
    lines = [line for line in lines if is_utf8(line)]  # the others would be set aside
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise OSError(f"a line is longer than {_LONGEST_LINE:,} letters, so that it is hardly a table")
    return lines


def _table(lines: list[str], found: FileFormat | None) -> Sample:
    separator, said = _separator(lines, found)
    quotes = len(separator) == 1 and (separator != "\t" or any(line.startswith('"') for line in lines))
    text = io.StringIO("".join(lines), newline="")
    found_rows = split_records(text, Dialect(separator=separator, quotes=quotes))
    records = [fields for _, fields, _, why in found_rows if not why]
    width = Counter(map(len, records)).most_common(1)[0][0] if records else 0
    records = [fields for fields in records if len(fields) == width]
    header = bool(records) and _is_header(records[0])
    names = records[0] if header else [f"column_{n}" for n in range(1, width + 1)]
    if not header:
        said.append(f"header: false, because the first line holds values; the {width} columns are numbered: name them.")
    rows = records[1:] if header else records
    columns: dict[str, list[str | None]] = {
        name: [fields[n] or None for fields in rows] for n, name in enumerate(names)
    }
    dialect = Dialect(separator=separator, quotes=quotes, columns=() if header else tuple(names))
    file_format: FileFormat = "tsv" if separator == "\t" else "csv"
    return Sample(file_format, dialect, columns, dict.fromkeys(names, "text"), len(lines) <= ROWS, said)


def _separator(lines: list[str], found: FileFormat | None) -> tuple[str, list[str]]:
    """Return what stands in most lines equally often, and at least once."""
    if found == "tsv":
        return "\t", []
    best: list[tuple[float, int, str]] = []
    for separator in _SEPARATORS:
        count, often = Counter(line.count(separator) for line in lines[:200]).most_common(1)[0] if lines else (0, 0)
        if count:
            best.append((often, count, separator))
    if not best:
        return ",", []
    separator = "," if found == "csv" and any(b[2] == "," for b in best) and not _rather(best) else max(best)[2]
    expected = "," if found == "csv" else None
    said = [] if separator == expected else [f"separator {separator!r}, which most lines hold equally often."]
    return separator, said


def _rather(best: list[tuple[float, int, str]]) -> bool:
    """Say whether another separator than a comma is in clearly more lines equally often."""
    comma = next(b for b in best if b[2] == ",")
    return max(best)[0] > 1.5 * comma[0]


def _is_header(fields: list[str]) -> bool:
    """Say whether a first line names columns: no number, nothing empty, nothing twice."""
    return len(set(fields)) == len(fields) and all(name.strip() and not _is_number(name) for name in fields)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json(lines: list[str]) -> Sample:
    rows: list[dict[str, Any]] = []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and is_utf8(json.dumps(row, ensure_ascii=False)):
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    kinds = {name: _kind_of_values(values) for name, values in columns.items()}
    texts = {name: [_text(value) for value in values] for name, values in columns.items()}
    return Sample("jsonl", None, texts, kinds, len(lines) <= ROWS)


def _kind_of_values(values: list[Any]) -> Kind:
    given = [value for value in values if value is not None]
    if any(isinstance(value, list) for value in given):
        items = [item for value in given if isinstance(value, list) for item in value if item is not None]
        if any(isinstance(item, dict | list) for item in items):
            return "other"
        return "list of whole" if items and all(type(item) is int for item in items) else "list of text"
    if any(isinstance(value, dict) for value in given):
        return "other"
    return "boolean" if given and all(isinstance(value, bool) for value in given) else "text"


def _parquet(name: str) -> Sample:
    with open_raw(name) as raw, open_parquet(raw) as file:
        batches, rows = [], 0
        for batch in checked_batches(file, ROWS):
            batches.append(batch.slice(0, ROWS - rows))
            rows += batches[-1].num_rows
            if rows == ROWS:
                break
        table = pa.Table.from_batches(batches, schema=file.schema_arrow)
        kinds = {field.name: _kind_of_type(field.type) for field in table.schema}
        columns = {each: [_text(value) for value in _values(table.column(each))] for each in kinds}
        return Sample("parquet", None, columns, kinds, rows == file.metadata.num_rows)


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values, None for what Python has no value for: dates beyond the year 9999."""
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return None


def _kind_of_type(kind: pa.DataType) -> Kind:
    is_a = pa.types
    if is_a.is_dictionary(kind):
        return _kind_of_type(kind.value_type)
    if is_a.is_list(kind) or is_a.is_large_list(kind) or is_a.is_fixed_size_list(kind):
        inner = _kind_of_type(kind.value_type)
        return "list of whole" if inner == "whole" else "list of text" if inner == "text" else "other"
    tests: tuple[tuple[Any, Kind], ...] = (
        (is_a.is_boolean, "boolean"), (is_a.is_integer, "whole"), (is_a.is_floating, "number"),
        (is_a.is_decimal128, "number"), (is_a.is_timestamp, "time"), (is_a.is_date, "time"), (is_a.is_string, "text"),
        (is_a.is_large_string, "text"), (is_a.is_string_view, "text"), (is_a.is_null, "text"),
    )  # fmt: skip
    return next((found for test, found in tests if test(kind)), "other")


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, list):
        return "|".join(str(item) for item in value if item is not None) or None
    return str(value).lower() if isinstance(value, bool) else str(value)
