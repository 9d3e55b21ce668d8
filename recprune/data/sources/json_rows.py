"""Rows of a JSON lines file: an object a line, every value as text or, where the schema has lists, as a list."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from recprune.data.schema import Schema
from recprune.data.sources.csv_rows import printable
from recprune.data.sources.records import is_utf8
from recprune.data.sources.source import BrokenRow, RawBatch
from recprune.data.sources.streams import bounded_lines, open_text, too_long

Value = str | list[str | None] | None


@dataclass(slots=True)
class JsonRows:
    """The columns of a schema from JSON lines; what the schema does not name is left out.

    Numbers keep their digits as they stand there; true and false are 1 and 0 for the label.
    """

    schema: Schema
    batch_rows: int
    _names: tuple[str, ...] = field(init=False)
    _lists: dict[str, str] = field(init=False)
    """Columns that hold lists, with what stands between ids where they come as text."""

    def __post_init__(self) -> None:
        schema = self.schema
        weight = (schema.weight,) if schema.weight else ()
        named = (schema.label, schema.time, *schema.key, *weight, *(f.name for f in schema.features))
        self._names = tuple(dict.fromkeys(named))
        self._lists = {f.name: f.separator for f in schema.features if f.pooling is not None}

    def read(self, name: str) -> Iterator[RawBatch]:
        """Yield the rows of a file; blank lines are no rows.

        Raises:
            OSError: the file cannot be read, or is damaged.
        """
        good: list[tuple[int, list[Value]]] = []
        broken: list[BrokenRow] = []
        with open_text(name) as file:
            for line, text in enumerate(bounded_lines(file), start=1):
                if not text.strip():
                    continue
                fault = too_long(text)
                values, fault = ([], fault) if fault else self._values(text)
                if fault:
                    broken.append(BrokenRow(line, fault, printable(text.rstrip("\r\n"))))
                else:
                    good.append((line, values))
                if len(good) + len(broken) == self.batch_rows:
                    yield self._batch(good, broken)
                    good, broken = [], []
        if good or broken:
            yield self._batch(good, broken)

    def _values(self, text: str) -> tuple[list[Value], str]:
        try:
            found = _DECODER.decode(text.rstrip())
        except json.JSONDecodeError as error:
            return [], f"not valid JSON: {error.msg} (column {error.colno})"
        except _TwiceError as error:
            return [], f"not valid JSON: names {printable(str(error))} twice"
        except RecursionError:
            return [], "not valid JSON: nested too deeply"
        if not isinstance(found, dict):
            return [], "not a JSON object"
        values = [self._value(name, found.get(name)) for name in self._names]
        if not (text.isascii() and "\\u" not in text) and not all(map(_whole, values)):
            return [], "not valid UTF-8"
        return values, ""

    def _value(self, name: str, value: Any) -> Value:
        if name not in self._lists:
            return _text(value, self.schema.label == name)
        if value is None or isinstance(value, list):
            return None if value is None else [_text(item) for item in value]
        return [part for part in (_text(value) or "").split(self._lists[name]) if part]

    def _batch(self, good: list[tuple[int, list[Value]]], broken: list[BrokenRow]) -> RawBatch:
        columns = zip(*(values for _, values in good), strict=True) if good else ([] for _ in self._names)
        types = [pa.list_(pa.string()) if name in self._lists else pa.string() for name in self._names]
        arrays = [pa.array(list(column), type=kind) for column, kind in zip(columns, types, strict=True)]
        lines = np.array([line for line, _ in good], dtype=np.int64)
        return RawBatch(pa.RecordBatch.from_arrays(arrays, names=list(self._names)), lines, tuple(broken))


class _TwiceError(ValueError):
    """A key stands twice in an object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return found


_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_once)


def _text(value: Any, is_label: bool = False) -> str | None:
    if isinstance(value, bool):
        return str(int(value)) if is_label else str(value).lower()
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _whole(value: Value) -> bool:
    return is_utf8(value) if isinstance(value, str) else all(v is None or is_utf8(v) for v in value or ())
