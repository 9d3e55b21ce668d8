"""Rows on their way to a delivery: record batches whose rows know where in the day they stood."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recprune.data.simulator.chance import Floats
from recprune.data.sources.source import BrokenRow

Hit = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a day. Legend: B rows."""

    number: int
    """The how-manieth piece of the source, from 0."""
    rows: pa.RecordBatch
    at: Floats
    """Where in the day's delivery each row stood, in [0, 1) (B,)."""
    broken: tuple[BrokenRow, ...] = ()

    def take(self, chosen: NDArray[np.int64]) -> "Piece":
        """Return the rows at these places, in this order."""
        return replace(self, rows=self.rows.take(pa.array(chosen)), at=self.at[chosen])

    def split(self, at: float) -> Iterator["Piece"]:
        """Yield the rows before a moment of the day and those from it on; what is empty is left out."""
        first = int(np.searchsorted(self.at, at, "left"))
        for start, end, broken in ((0, first, self.broken), (first, len(self.at), ())):
            if end > start or broken:
                yield replace(self, rows=self.rows.slice(start, end - start), at=self.at[start:end], broken=broken)

    def with_column(self, name: str, values: pa.Array) -> "Piece":
        """Return the rows with one column replaced."""
        place = self.rows.schema.get_field_index(name)
        return replace(self, rows=self.rows.set_column(place, name, values))

    def where(self, hit: Hit, name: str, values: pa.Array) -> "Piece":
        """Return the rows with some values of a column replaced, cast to its type."""
        old = self.rows[name]
        return self.with_column(name, pc.if_else(pa.array(hit), values.cast(old.type), old))


def as_numbers(values: pa.Array) -> pl.Series:
    """Return a column as numbers; text that is none becomes null.

    >>> as_numbers(pa.array(["1.5", "x"])).to_list()
    [1.5, None]
    """
    return pl.Series(pl.from_arrow(values)).cast(pl.Float64, strict=False)


def like(old: pa.Array, numbers: pl.Series) -> pa.Array:
    """Return numbers as the type that a column had: text stays text, whole numbers stay whole.

    >>> like(pa.array(["7"]), pl.Series([8.0])).to_pylist()
    ['8']
    """
    if pa.types.is_floating(old.type):
        return numbers.to_arrow().cast(old.type)
    whole = numbers.round(0).cast(pl.Int64) if (numbers.drop_nulls() % 1 == 0).all() else numbers
    return whole.cast(pl.String).to_arrow().cast(pa.string()) if _is_text(old) else whole.to_arrow()


def _is_text(values: pa.Array) -> bool:
    return bool(pa.types.is_string(values.type) or pa.types.is_large_string(values.type))
