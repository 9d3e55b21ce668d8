"""Rows of a CSV or TSV file: every row arrives, whole as text or set aside with a reason.

Quoted text is read as Python's `csv` does it, strictly. UTF-8. Blank lines are no rows.
"""

import csv
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recprune.data.sources.plain_lines import plain_rows
from recprune.data.sources.source import BrokenRow, RawBatch
from recprune.data.sources.streams import LONGEST_LINE, bounded_line, open_text, too_long

LONGEST_RECORD = 1 << 24
"""Characters of a record of several lines, beyond which it ends."""
PATIENCE, AGAIN = 1 << 24, 4
"""Characters that may be read again because quotes did not close: so many, and so many for each that was taken."""
MOST_COLUMNS = 10_000
SHOWN = 10_000
"""Characters of a broken row that are kept."""
BATCH_CHARACTERS = 1 << 27
"""Characters of a batch, beyond which it is handed on."""

Record = tuple[int, list[str], str, str]
"""First line from 1, fields, the text as it stood there, and why it cannot be used or an empty string."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How a text file has its columns."""

    separator: str = ","
    quotes: bool = True
    """Fields may stand in double quotes; else a quote is a letter like any other."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a file without a header line; empty: its first line names them."""


CSV = Dialect()
_BLOCK = 8_192
"""Lines that are tried to be read whole; one odd line among them, and they are read one by one."""
_BLOCK_CHARACTERS = 1 << 24


def read_csv(path: Path | str, batch_rows: int, dialect: Dialect = CSV) -> Iterator[RawBatch]:
    """Yield the rows of a file, every column as text.

    Raises:
        OSError: the file cannot be read, or is damaged.
    """
    with open_text(str(path)) as file:
        yield from _read_file(file, batch_rows, dialect)


def _read_file(file: TextIO, batch_rows: int, dialect: Dialect) -> Iterator[RawBatch]:
    lines = _Lines(file)
    header, reason = list(dialect.columns), ""
    if not header:
        _, header, text, reason = next(_split(lines, dialect), (0, [], "", ""))
        reason = _header_fault(header, text, reason)
    names, said = [] if reason else header, "expected" if dialect.columns else "the header has"
    rows = _Rows(names)
    while block := lines.ahead(min(_BLOCK, batch_rows - rows.count)):
        odd = reason or max(map(len, block)) >= LONGEST_LINE
        plain = None if odd else plain_rows(block, names, dialect.separator, quotes=dialect.quotes)
        if plain is not None:
            rows.add(plain, lines.skip(len(block)), sum(map(len, block)))
        else:
            for line, fields, text, fault in _split(lines, dialect):
                rows.put(line, fields, reason or fault or _row_fault(fields, header, text, said), text)
                if rows.is_full(batch_rows):
                    yield rows.take()
                if lines.nothing_ahead:
                    break
        if rows.is_full(batch_rows):
            yield rows.take()
    if rows.count:
        yield rows.take()


class _Rows:
    """Rows of one batch, good and broken."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._clear()

    def _clear(self) -> None:
        self.count = self._characters = 0
        self._parts: list[RawBatch] = []
        self._good: list[tuple[int, list[str]]] = []
        self._broken: list[BrokenRow] = []

    def put(self, line: int, fields: list[str], fault: str, text: str) -> None:
        """Add one row, broken if there is a fault."""
        self.count += 1
        self._characters += len(text)
        if fault:
            self._broken.append(BrokenRow(line, fault, printable(text)))
        else:
            self._good.append((line, fields))

    def add(self, rows: pa.RecordBatch, lines: NDArray[np.int64], characters: int) -> None:
        """Add good rows."""
        self._characters += characters
        self._close_part()
        self._parts.append(RawBatch(rows, lines))
        self.count += rows.num_rows

    def is_full(self, rows: int) -> bool:
        """Say whether the batch is to be handed on."""
        return self.count >= rows or self._characters > BATCH_CHARACTERS

    def take(self) -> RawBatch:
        """Return the batch, and begin the next one."""
        self._close_part()
        parts = self._parts or [_batch(self._names, [])]
        rows = pa.concat_batches([part.rows for part in parts]) if len(parts) > 1 else parts[0].rows
        batch = RawBatch(rows, np.concatenate([part.lines for part in parts]), tuple(self._broken))
        self._clear()
        return batch

    def _close_part(self) -> None:
        if self._good:
            self._parts.append(_batch(self._names, self._good))
            self._good = []


def split_records(file: TextIO, dialect: Dialect = CSV) -> Iterator[Record]:
    r"""Yield the records of a CSV file.

    A record that is no valid CSV costs its first line only: an open quote does not swallow what follows.

    >>> import io
    >>> for record in split_records(io.StringIO('a,b\n"open,1\nx,2\n')): print(record)
    (1, ['a', 'b'], 'a,b', '')
    (2, [], '"open,1', 'not valid CSV: unexpected end of data')
    (3, ['x', '2'], 'x,2', '')
    """
    yield from _split(_Lines(file), dialect)


def _split(lines: "_Lines", dialect: Dialect) -> Iterator[Record]:
    if not dialect.quotes:
        yield from _split_lines(lines, dialect.separator)
        return
    reader = csv.reader(lines, strict=True, delimiter=dialect.separator)
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


def _split_lines(lines: "_Lines", separator: str) -> Iterator[Record]:
    while True:
        try:
            next(lines)
            reason = ""
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
        start, text = lines.take()
        if text:
            yield start, [] if reason else text.split(separator), text, reason


class _Lines:
    """Physical lines for the reader, remembered until the record they belong to is taken.

    Quotes that never close make the reader read on to the end, line after line again; both how much one record holds
    and how much is read again in all are bounded, and past a bound a record ends with its line.
    """

    def __init__(self, file: TextIO) -> None:
        self._file, self._waiting = file, deque[str]()
        self._record: list[str] = []
        self._taken = self._length = 0
        self._left = PATIENCE

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self._record and (self._length > LONGEST_RECORD or self._left < 0):
            raise StopIteration
        line = self._waiting.popleft() if self._waiting else bounded_line(self._file)
        if not line:
            raise StopIteration
        if self._record:
            self._length += len(line)
        self._record.append(line)
        if len(line) >= LONGEST_LINE:
            raise csv.Error(too_long(line))
        return line

    def ahead(self, count: int) -> list[str]:
        """Return the next lines, at most so many and not many long ones, which stay to be read."""
        characters = sum(map(len, self._waiting))
        while len(self._waiting) < count and characters < _BLOCK_CHARACTERS and (line := bounded_line(self._file)):
            self._waiting.append(line)
            characters += len(line)
        return list(islice(self._waiting, count))

    @property
    def nothing_ahead(self) -> bool:
        """Say whether no line waits that was looked at already."""
        return not self._waiting

    def skip(self, count: int) -> NDArray[np.int64]:
        """Pass over so many lines that were looked at; returns their numbers."""
        numbers = self._taken + np.arange(1, count + 1, dtype=np.int64)
        self._taken += count
        for _ in range(count):
            self._waiting.popleft()
        return numbers

    def give_back(self) -> None:
        """Keep the record's first line and read the others again."""
        self._left -= self._length
        self._waiting.extendleft(reversed(self._record[1:]))
        del self._record[1:]

    def take(self) -> tuple[int, str]:
        """Return the record's first line number and its text, and begin the next record."""
        start, text = self._taken + 1, "".join(self._record).rstrip("\r\n")
        self._left += AGAIN * len(text)
        self._taken += len(self._record)
        self._record.clear()
        self._length = 0
        return start, text


def printable(text: str) -> str:
    r"""Return text with the bytes that are no UTF-8 written out; of a long one the beginning.

    >>> printable(b"caf\xe9".decode("utf-8", "surrogateescape"))
    'caf\\xe9'
    """
    if len(text) > SHOWN:
        return f"{printable(text[:SHOWN])}… ({len(text):,} characters)"
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _header_fault(header: list[str], text: str, reason: str) -> str:
    """Say why no row of the file can be used, if so."""
    if not reason and len(header) > MOST_COLUMNS:
        reason = f"names {len(header):,} columns; at most {MOST_COLUMNS:,} are read"
    twice = [name for name, count in Counter(header).items() if count > 1]
    if not reason and twice:
        reason = f"names a column twice: {printable(twice[0])}"
    reason = reason or _row_fault(header, header, text)
    return f"the header is unusable, {reason}" if reason else ""


def _row_fault(fields: list[str], header: list[str], text: str, said: str = "the header has") -> str:
    if len(fields) != len(header):
        return f"wrong number of fields: {len(fields)}, {said} {len(header)}"
    return "" if text.isascii() or is_utf8(text) else "not valid UTF-8"


def is_utf8(text: str) -> bool:
    """Say whether a text has no bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _batch(names: list[str], good: list[tuple[int, list[str]]]) -> RawBatch:
    columns = zip(*(fields for _, fields in good), strict=True) if good else ([] for _ in names)
    arrays = [pa.array(list(column), pa.string()) for column in columns]
    lines = np.array([line for line, _ in good], dtype=np.int64)
    return RawBatch(pa.RecordBatch.from_arrays(arrays, names=names), lines)
