"""The interface of a source: a day → record batches, streaming, and a schema."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recprune.data.schema import Schema


class MissingDayError(Exception):
    """The source has nothing for a day; the sentence says where it looked. Ends in a quarantine, not a failure."""


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that could not even be split into columns."""

    line: int
    """Line in the file, or position in the day, from 1."""
    reason: str
    text: str
    """The row as it stood there."""


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Some rows of a day as the source has them: not yet checked, typed or de-duplicated."""

    rows: pa.RecordBatch
    lines: NDArray[np.int64]
    """Line in the file, or position in the day, from 1, of each row (B,)."""
    broken: tuple[BrokenRow, ...] = ()

    def after(self, rows: int) -> "RawBatch":
        """Return the batch with lines that count on from so many rows before."""
        if not rows:
            return self
        broken = tuple(replace(each, line=each.line + rows) for each in self.broken)
        return replace(self, lines=self.lines + rows, broken=broken)


@dataclass(slots=True)
class Content:
    """What files hold, as far as it matters once all of a day are read; that of one adds to that of another."""

    rows: int = 0
    """Good and broken ones."""
    given: dict[str, bool] = field(default_factory=dict)
    """Columns, and whether a row has a value there."""

    def see(self, batch: RawBatch) -> None:
        """Take rows into account."""
        self.rows += len(batch.lines) + len(batch.broken)
        if batch.rows.num_rows:
            for name, values in zip(batch.rows.schema.names, batch.rows.columns, strict=True):
                self.given[name] = self.given.get(name, False) or values.null_count < len(values)

    def add(self, other: "Content") -> None:
        """Take what other files hold into account."""
        self.rows += other.rows
        for name, is_given in other.given.items():
            self.given[name] = self.given.get(name, False) or is_given


class Source(Protocol):
    """Where events come from. Reading the same day again gives the same rows in the same order."""

    name: str
    text: bool
    """Every column arrives as text (CSV): types are judged by value, not by the column's type."""

    @property
    def note(self) -> str:
        """Return what the manifest of a day should say of its rows, or nothing."""
        ...

    def schema(self) -> Schema:
        """Return what the rows mean."""
        ...

    def span(self) -> tuple[date, date | None]:
        """Return the first day, and the last one where the source has an end."""
        ...

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield the rows delivered for a day, in the source's order.

        Columns that the schema does not name are allowed and ignored; a column it names may be absent.

        Raises:
            MissingDayError: nothing was delivered for the day.
        """
        ...


@runtime_checkable
class ByFile(Source, Protocol):
    """A source whose days lie in files that can be read one by one, in any order and anywhere.

    What `read` yields are the batches of each file, in order, then what `ending` has to add.
    """

    counts_on: bool
    """Lines go on from one file to the next; those of `read_file` count from 1 all the same."""

    @property
    def reading(self) -> str:
        """Return the settings on which rows depend besides their file."""
        ...

    def files(self, day: date) -> list[str]:
        """Return the files that hold the day, in order.

        Raises:
            MissingDayError: there is none.
        """
        ...

    def read_file(self, day: date, name: str) -> Iterator[RawBatch]:
        """Yield the rows of one file.

        Raises:
            MissingDayError: it is damaged.
        """
        ...

    def ending(self, day: date, names: list[str], found: Content) -> RawBatch | None:
        """Return what follows the last row of the last file, if anything.

        Raises:
            MissingDayError: there was no row.
        """
        ...


@runtime_checkable
class KnowsTheBest(Protocol):
    """A source that knows the true probabilities, so that a report can show the distance to the best possible."""

    def teacher_normalized_entropy(self, day: date) -> float:
        """Return the NE of the true probabilities; faults are left out."""
        ...
