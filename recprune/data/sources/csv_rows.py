"""Rows of a CSV or TSV file: every row arrives, whole as text or set aside with a reason.

Quoted text is read as Python's `csv` does it, strictly. UTF-8. Blank lines are no rows.
"""

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recprune.data.sources.plain_lines import LONGEST, plain_block, plain_rows
from recprune.data.sources.records import CSV, Dialect, Lines, Record, is_utf8, split
from recprune.data.sources.source import BrokenRow, RawBatch
from recprune.data.sources.streams import LONGEST_LINE, Blocks, as_text, open_bytes

MOST_COLUMNS = 10_000
SHOWN = 10_000
"""Characters of a broken row that are kept."""
BATCH_CHARACTERS = 1 << 27
"""Characters of a batch, beyond which it is handed on."""

_BLOCK = 8_192
"""Lines that are tried to be read whole; one odd line among them, and they are read one by one."""


def read_csv(path: Path | str, batch_rows: int, dialect: Dialect = CSV) -> Iterator[RawBatch]:
    """Yield the rows of a file, every column as text.

    Raises:
        OSError: the file cannot be read, or is damaged.
    """
    with open_bytes(str(path)) as file, closing(Blocks(file)) as blocks:
        yield from _batches(_File(blocks, dialect), batch_rows)


@dataclass(frozen=True, slots=True)
class _Plain:
    """Good rows, as they stand in the file."""

    rows: pa.Table
    lines: NDArray[np.int64]
    characters: int


class _File:
    """A file's rows after its header: many plain ones at a time, and others one by one."""

    def __init__(self, blocks: Blocks, dialect: Dialect) -> None:
        self._blocks, self._dialect = blocks, dialect
        self._said = "expected" if dialect.columns else "the header has"
        self._taken, self._ended = 0, False
        self._block = blocks.take()
        self.header, self.fault = list(dialect.columns), ""
        if not self.header and not self._plain_header():
            self._lines = Lines(as_text(blocks.rest(self._block)))
            _, self.header, text, reason = next(split(self._lines, dialect), (0, [], "", ""))
            self.fault, self._ended = _header_fault(self.header, text, reason), True

    @property
    def names(self) -> list[str]:
        """Return the columns, none if no row can be used."""
        return [] if self.fault else self.header

    def __iter__(self) -> Iterator[_Plain | Record]:
        if self._ended:  # the header needed the reader of records, which has read on
            yield from self._slowly(self._lines)
            return
        while block := self._block or self._blocks.take():
            self._block = b""
            plain = plain_block(block, self.names, self._dialect.separator, quotes=self._dialect.quotes)
            if plain is not None and not self._blocks.in_line:
                yield _Plain(plain, self._numbers(plain.num_rows), len(block))
                continue
            to_the_end = self._dialect.quotes or self._blocks.in_line  # quotes may hold ends of lines
            lines = Lines(as_text(self._blocks.rest(block) if to_the_end else io.BytesIO(block)), self._taken)
            yield from self._slowly(lines)
            if to_the_end:
                return
            self._taken = lines.taken

    def _plain_header(self) -> bool:
        """Take the header line if it needs no reader of records; says whether it was taken."""
        end = self._block.find(b"\n") + 1
        head, separator = self._block[:end], self._dialect.separator
        odd = (b'"', b"\0", b"\r") if self._dialect.quotes else (b"\0", b"\r")
        line = head.removesuffix(b"\n").removesuffix(b"\r")
        if not line or len(line) > LONGEST or any(each in line for each in odd):
            return False
        text = line.decode("utf-8", "surrogateescape")
        if _header_fault(text.split(separator), text, ""):
            return False
        self.header, self._block, self._taken = text.split(separator), self._block[end:], 1
        return True

    def _slowly(self, lines: "Lines") -> Iterator[_Plain | Record]:
        while block := lines.ahead(_BLOCK):
            odd = self.fault or max(map(len, block)) >= LONGEST_LINE
            plain = None if odd else plain_rows(block, self.names, self._dialect.separator, quotes=self._dialect.quotes)
            if plain is not None:
                yield _Plain(plain, lines.skip(len(block)), sum(map(len, block)))
                continue
            for line, fields, text, fault in split(lines, self._dialect):
                wrong = self.fault or fault or _row_fault(fields, self.header, text, self._said)
                yield line, fields, wrong, text
                if lines.nothing_ahead:
                    break

    def _numbers(self, count: int) -> NDArray[np.int64]:
        self._taken += count
        return np.arange(self._taken - count + 1, self._taken + 1, dtype=np.int64)


def _batches(file: _File, batch_rows: int) -> Iterator[RawBatch]:
    """Yield batches of so many rows, good and broken ones together; the last one may have fewer."""
    rows = _Rows(file.names)
    for found in file:
        if not isinstance(found, _Plain):
            rows.put(*found)
            if rows.is_full(batch_rows):
                yield rows.take()
            continue
        start = 0
        while start < found.rows.num_rows:
            count = min(batch_rows - rows.count, found.rows.num_rows - start)
            part = slice(start, start + count)
            rows.add(found.rows[part], found.lines[part], found.characters * count // found.rows.num_rows)
            start += count
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
        self._parts: list[pa.Table] = []
        self._lines: list[NDArray[np.int64]] = []
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

    def add(self, rows: pa.Table, lines: NDArray[np.int64], characters: int) -> None:
        """Add good rows."""
        self._close_part()
        self._parts.append(rows)
        self._lines.append(lines)
        self.count += rows.num_rows
        self._characters += characters

    def is_full(self, rows: int) -> bool:
        """Say whether the batch is to be handed on."""
        return self.count >= rows or self._characters > BATCH_CHARACTERS

    def take(self) -> RawBatch:
        """Return the batch, and begin the next one."""
        self._close_part()
        if not self._parts:
            self._parts, self._lines = [_table(self._names, [])], [np.zeros(0, np.int64)]
        batch = RawBatch(pa.concat_tables(self._parts), np.concatenate(self._lines), tuple(self._broken))
        self._clear()
        return batch

    def _close_part(self) -> None:
        if self._good:
            self._parts.append(_table(self._names, [fields for _, fields in self._good]))
            self._lines.append(np.array([line for line, _ in self._good], dtype=np.int64))
            self._good = []


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


def _table(names: list[str], good: list[list[str]]) -> pa.Table:
    columns = zip(*good, strict=True) if good else ([] for _ in names)
    return pa.Table.from_arrays([pa.array(list(column), pa.string_view()) for column in columns], names=names)
