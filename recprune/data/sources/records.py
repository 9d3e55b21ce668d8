"""Records of a CSV or TSV text, one by one: as Python's `csv` reads them, strictly. Blank lines are no rows."""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from recprune.data.sources.streams import LONGEST_LINE, bounded_line, too_long

LONGEST_RECORD = 1 << 24
"""Characters of a record of several lines, beyond which it ends."""
PATIENCE, AGAIN = 1 << 24, 4
"""Characters that may be read again because quotes did not close: so many, and so many for each that was taken."""
_BLOCK_CHARACTERS = 1 << 24

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


def split_records(file: TextIO, dialect: Dialect = CSV) -> Iterator[Record]:
    r"""Yield the records of a CSV file.

    A record that is no valid CSV costs its first line only: an open quote does not swallow what follows.

    >>> import io
    >>> for record in split_records(io.StringIO('a,b\n"open,1\nx,2\n')): print(record)
    (1, ['a', 'b'], 'a,b', '')
    (2, [], '"open,1', 'not valid CSV: unexpected end of data')
    (3, ['x', '2'], 'x,2', '')
    """
    yield from split(Lines(file), dialect)


def split(lines: "Lines", dialect: Dialect) -> Iterator[Record]:
    """Yield the records of lines, as `split_records` does."""
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


def _split_lines(lines: "Lines", separator: str) -> Iterator[Record]:
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


class Lines:
    """Physical lines for the reader, remembered until the record they belong to is taken.

    Quotes that never close make the reader read on to the end, line after line again; both how much one record holds
    and how much is read again in all are bounded, and past a bound a record ends with its line.
    """

    def __init__(self, file: TextIO, taken: int = 0) -> None:
        self._file, self._waiting = file, deque[str]()
        self._record: list[str] = []
        self.taken, self._length = taken, 0
        self._left = PATIENCE

    def __iter__(self) -> "Lines":
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
        numbers = self.taken + np.arange(1, count + 1, dtype=np.int64)
        self.taken += count
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
        start, text = self.taken + 1, "".join(self._record).rstrip("\r\n")
        self._left += AGAIN * len(text)
        self.taken += len(self._record)
        self._record.clear()
        self._length = 0
        return start, text


def is_utf8(text: str) -> bool:
    """Say whether a text has no bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
