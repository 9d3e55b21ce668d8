"""The interface of a source: a day → record batches, streaming, and a schema."""

from collections.abc import Iterator
from dataclasses import dataclass
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
class KnowsTheBest(Protocol):
    """A source that knows the true probabilities, so that a report can show the distance to the best possible."""

    def teacher_normalized_entropy(self, day: date) -> float:
        """Return the NE of the true probabilities; faults are left out."""
        ...
