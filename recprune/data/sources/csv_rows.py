"""Rows of a CSV file: every row arrives, whole as text or set aside with a reason.

The dialect is Python's `csv` default, read strictly: comma, double quotes, a header line, UTF-8. Blank
lines are no rows.
"""

import csv
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa

from recprune.data.sources.source import BrokenRow, RawBatch

Record = tuple[int, list[str], str, str]
"""First line from 1, fields, the text as it stood there, and why it cannot be used or an empty string."""


def read_csv(path: Path, batch_rows: int) -> Iterator[RawBatch]:
    """Yield the rows of a CSV file, every column as text."""
    # surrogateescape keeps bytes that are no UTF-8 apart, so that only their rows are set aside
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield from _read_file(file, batch_rows)


def _read_file(file: TextIO, batch_rows: int) -> Iterator[RawBatch]:
    records = split_records(file)
    _, header, text, reason = next(records, (0, [], "", ""))
    reason = _header_fault(header, text, reason)
    names = [] if reason else header
    good: list[tuple[int, list[str]]] = []
    broken: list[BrokenRow] = []
    for line, fields, text, fault in records:
        fault = reason or fault or _row_fault(fields, header, text)
        if fault:
            broken.append(BrokenRow(line, fault, printable(text)))
        else:
            good.append((line, fields))
        if len(good) + len(broken) == batch_rows:
            yield _batch(names, good, broken)
            good, broken = [], []
    if good or broken:
        yield _batch(names, good, broken)


def split_records(file: TextIO) -> Iterator[Record]:
    r"""Yield the records of a CSV file.

    A record that is no valid CSV costs its first line only: an open quote does not swallow what follows.

    >>> import io
    >>> for record in split_records(io.StringIO('a,b\n"open,1\nx,2\n')): print(record)
    (1, ['a', 'b'], 'a,b', '')
    (2, [], '"open,1', 'not valid CSV: unexpected end of data')
    (3, ['x', '2'], 'x,2', '')
    """
    lines = _Lines(file)
    reader = csv.reader(lines, strict=True)
    while True:
        try:
            fields, reason = next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            fields, reason = [], f"not valid CSV: {error}"
            lines.give_back()
        start, text = lines.take()
        if fields or reason:
            yield start, fields, text, reason


class _Lines:
    """Physical lines for the reader, remembered until the record they belong to is taken."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._waiting = file, deque[str]()
        self._record: list[str] = []
        self._taken = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._file)
        self._record.append(line)
        return line

    def give_back(self) -> None:
        """Keep the record's first line and read the others again."""
        self._waiting.extendleft(reversed(self._record[1:]))
        del self._record[1:]

    def take(self) -> tuple[int, str]:
        """Return the record's first line number and its text, and begin the next record."""
        start, text = self._taken + 1, "".join(self._record).rstrip("\r\n")
        self._taken += len(self._record)
        self._record.clear()
        return start, text


def printable(text: str) -> str:
    r"""Return text with the bytes that are no UTF-8 written out.

    >>> printable(b"caf\xe9".decode("utf-8", "surrogateescape"))
    'caf\\xe9'
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _header_fault(header: list[str], text: str, reason: str) -> str:
    """Say why no row of the file can be used, if so."""
    twice = [name for name, count in Counter(header).items() if count > 1]
    if not reason and twice:
        reason = f"names a column twice: {printable(twice[0])}"
    reason = reason or _row_fault(header, header, text)
    return f"the header is unusable, {reason}" if reason else ""


def _row_fault(fields: list[str], header: list[str], text: str) -> str:
    if len(fields) != len(header):
        return f"wrong number of fields: {len(fields)}, the header has {len(header)}"
    return "" if text.isascii() or _is_utf8(text) else "not valid UTF-8"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _batch(names: list[str], good: list[tuple[int, list[str]]], broken: list[BrokenRow]) -> RawBatch:
    columns = zip(*(fields for _, fields in good), strict=True) if good else ([] for _ in names)
    arrays = [pa.array(list(column), pa.string()) for column in columns]
    lines = np.array([line for line, _ in good], dtype=np.int64)
    return RawBatch(pa.RecordBatch.from_arrays(arrays, names=names), lines, tuple(broken))
