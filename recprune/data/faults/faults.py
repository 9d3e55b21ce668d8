"""The faults that hit rows where they stand: each takes a piece and returns what is delivered instead.

Faults of a pipeline hit the last share of a day, from a deployment on; faults of single rows hit any.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recprune.data.faults.piece import Hit, Piece, as_numbers, like
from recprune.data.schema import Schema
from recprune.data.simulator.chance import Chance, Stream
from recprune.data.simulator.settings import FaultName

NAMES: tuple[FaultName, ...] = (
    "null_burst",
    "unit_change",
    "ids_renumbered",
    "labels_flipped",
    "late_rows",
    "missing_partition",
    "bot_burst",
    "duplicated_rows",
    "type_changed",
    "column_gone",
)
"""In the order in which those of one day are put in: a column goes last, so that the others can still hit it."""
TO_CENTS = 100.0


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault of one day, and where it strikes."""

    name: str
    strength: float
    """Share of the rows that it hits."""
    schema: Schema
    text: bool
    """Every column of the source is text."""
    chance: Chance
    feature: str = ""
    """The column that it hits, where it hits one."""
    renumbered: Mapping[str, str] = field(default_factory=dict)
    """The id that stands for another, as text."""
    first: pa.RecordBatch | None = None
    """The day's first row, whose visitor a bot poses as."""

    def hit(self, piece: Piece) -> Hit:
        """Say which rows are hit, each for itself (B,)."""
        column = NAMES.index(self.name)
        draws = self.chance.uniform(Stream.FAULT, len(piece.at), batch=piece.number, column=column)
        return np.asarray(draws < self.strength)

    def since(self) -> float:
        """Return from where in the day on rows are hit, of a fault that begins and stays."""
        return 1.0 - self.strength


def null_burst(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """Lose values of one feature."""
    nulls = pa.nulls(len(piece.at), piece.rows[strike.feature].type)
    yield piece.where(strike.hit(piece), strike.feature, nulls)


def unit_change(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """Deliver cents for euros from a moment on: a number is a hundred times as large."""
    old = piece.rows[strike.feature]
    scaled = as_numbers(old) * TO_CENTS
    for part in piece.split(strike.since()):
        if len(part.at) and part.at[0] >= strike.since():
            part = part.with_column(strike.feature, like(old, scaled.tail(len(part.at))))
        yield part


def ids_renumbered(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """Give ids of one feature the numbers of others, all of them known: the worst renumbering there is."""
    old = piece.rows[strike.feature]
    names = old.cast(pa.string()).dictionary_encode()
    new = pa.array([strike.renumbered.get(str(i), str(i)) for i in names.dictionary.to_pylist()], pa.string())
    yield piece.with_column(strike.feature, new.take(names.indices).cast(old.type))


def labels_flipped(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """Deliver 1 for 0 and 0 for 1."""
    name = strike.schema.label
    yield piece.where(strike.hit(piece), name, like(piece.rows[name], 1.0 - as_numbers(piece.rows[name])))


def late_rows(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """Leave out the rows that come a day later."""
    yield piece.take(np.flatnonzero(~strike.hit(piece)))


def only_late_rows(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """Leave only the rows that come a day later."""
    yield replace(piece.take(np.flatnonzero(strike.hit(piece))), broken=())


def missing_partition(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """End the delivery early."""
    yield from (part for part in piece.split(strike.since()) if not len(part.at) or part.at[0] < strike.since())


def duplicated_rows(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """Deliver rows twice, the second right after the first."""
    yield piece.take(np.repeat(np.arange(len(piece.at)), 1 + strike.hit(piece)))


def bot_burst(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """Add rows of one visitor who clicks on everything: other rows' candidates, one visitor's own features."""
    assert strike.first is not None
    hit = strike.hit(piece)
    chosen = np.repeat(np.arange(len(piece.at)), 1 + hit)
    bot = np.zeros(len(chosen), dtype=np.bool_)
    bot[1:] = chosen[1:] == chosen[:-1]
    made, schema = piece.take(chosen), strike.schema
    for name in visitor(schema):
        made = made.where(bot, name, strike.first[name].take(pa.array(np.zeros(len(chosen), dtype=np.int64))))
    clicks = like(piece.rows[schema.label], as_numbers(made.rows[schema.label]).fill_null(0) * 0 + 1.0)
    made = made.where(bot, schema.label, clicks)
    for name in set(schema.key) - {f.name for f in schema.features} - {schema.time, schema.label}:
        own = pa.array(-1 - np.arange(len(chosen)) - piece.number * 2**32)
        if not pa.types.is_integer(made.rows[name].type):
            own = pc.binary_join_element_wise("bot", own.cast(pa.string()), "")
        made = made.where(bot, name, own)
    yield made


def visitor(schema: Schema) -> tuple[str, ...]:
    """Return the features that say who asks: those of the request, or the first id if there are none."""
    asked = tuple(f.name for f in schema.features if f.per == "request")
    return asked or tuple(f.name for f in schema.categorical[:1])


def type_changed(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """Deliver a column as another type from a moment on: numbers as text, text as numbers."""
    for part in piece.split(strike.since()):
        if len(part.at) and part.at[0] >= strike.since():
            part = part.with_column(strike.feature, _retyped(part.rows[strike.feature], strike.text))
        yield part


def _retyped(old: pa.Array, text: bool) -> pa.Array:
    if text:
        return pc.binary_join_element_wise(old, "pieces", " ")
    if pa.types.is_string(old.type) or pa.types.is_large_string(old.type):
        return old.dictionary_encode().indices.cast(pa.int64())
    return old.cast(pa.string())


def column_gone(piece: Piece, strike: Strike) -> Iterator[Piece]:
    """Deliver without a column from a moment on."""
    for part in piece.split(strike.since()):
        gone = len(part.at) and part.at[0] >= strike.since()
        yield replace(part, rows=part.rows.drop_columns([strike.feature])) if gone else part
