"""A source's days with the faults that they were given; without one, a day is the source's own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recprune.data.faults import faults as kinds
from recprune.data.faults.faults import NAMES, Strike
from recprune.data.faults.piece import Piece
from recprune.data.schema import Schema
from recprune.data.simulator.chance import Chance, Stream
from recprune.data.simulator.settings import FaultSettings
from recprune.data.sources.source import MissingDayError, RawBatch, Source
from recprune.days import parse_day
from recprune.errors import SettingsError

Read = Callable[[date], Iterator[RawBatch]]
Heard = Callable[[date], Sequence[str]]
MOST_ROWS = 65_536
"""Rows of a delivered batch."""


class FaultySource:
    """Another source, some of whose deliveries have faults. Nothing of the source itself is changed.

    Args:
        source: gives the rows.
        faults: by name, day and strength.
        seed: of which rows, features and ids are hit.
    """

    def __init__(self, source: Source, faults: Sequence[FaultSettings], seed: int) -> None:
        self.name, self.text = source.name, source.text
        self._source, self._faults = source, Faults(faults, source.schema(), source.text, seed)

    @property
    def note(self) -> str:
        """Return what the source says of its rows."""
        return self._source.note

    def schema(self) -> Schema:
        """Return what the rows mean."""
        return self._source.schema()

    def span(self) -> tuple[date, date | None]:
        """Return the first and the last day."""
        return self._source.span()

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield what is delivered for a day."""
        return self._faults.deliver(self._source.read, day)

    def feature(self, name: str, day: date) -> str:
        """Return the column that a fault hits on a day; empty for one that hits whole rows."""
        return self._faults.feature(name, day)


class Faults:
    """Faults of a source whose rows mean `schema`.

    Args:
        faults: at most one of a name on a day.
        schema: of the source.
        text: every column of the source is text.
        seed: of which rows, features and ids are hit.
        heard: the features that matter on a day; they are hit before others.

    Raises:
        SettingsError: the source has no feature that a fault could hit.
    """

    def __init__(
        self, faults: Sequence[FaultSettings], schema: Schema, text: bool, seed: int, heard: Heard | None = None
    ) -> None:
        self._schema, self._text, self._seed, self._heard = schema, text, seed, heard
        self._days: dict[date, list[FaultSettings]] = {}
        for fault in sorted(faults, key=lambda f: NAMES.index(f.name)):
            self._days.setdefault(parse_day(fault.day), []).append(fault)
            if (fits := self._fitting(fault.name)) is not None and not fits:
                raise SettingsError(f"fault {fault.name} on {fault.day}: {_NOTHING[fault.name]}; leave it out.")

    def deliver(self, read: Read, day: date) -> Iterator[RawBatch]:
        """Yield what is delivered for a day.

        Args:
            read: gives the rows of a day without faults.
            day: of the delivery.

        Raises:
            MissingDayError: nothing is delivered.
        """
        before = [f for f in self._days.get(day - timedelta(days=1), []) if f.name == "late_rows"]
        today = self._days.get(day, [])
        if not before and not today:
            yield from read(day)
            return
        if any(f.name == "missing_partition" and f.strength == 1 for f in today):
            raise MissingDayError(f"nothing was delivered for {day}: its partition is missing (injected fault)")
        sent = 0
        for piece in [*self._late(before, read, day - timedelta(days=1)), *self._struck(today, read, day)]:
            for batch in _batches(piece, sent):
                sent += batch.rows.num_rows
                yield batch

    def feature(self, name: str, day: date) -> str:
        """Return the column that a fault hits on a day; empty for one that hits whole rows."""
        fits = self._fitting(name)
        if not fits:
            return ""
        heard = [f for f in fits if f in set(self._heard(day))] if self._heard else fits
        among = heard or fits
        (chosen,) = self._chance(day).choose(Stream.FAULT, len(among), 1, column=len(NAMES) + NAMES.index(name))
        return among[int(chosen)]

    def _fitting(self, name: str) -> list[str] | None:
        """Return the features that a fault can hit, lists and dates left out; None if it hits whole rows."""
        schema = self._schema
        if name in ("column_gone", "null_burst"):
            return [f.name for f in schema.features]
        single = [f for f in schema.features if f.pooling is None and f.reading == "number"]
        if name == "type_changed":
            return [f.name for f in single if not self._text or f.dtype != "string"]
        if name == "unit_change":
            return [f.name for f in single if f.type == "numeric"]
        return [f.name for f in single if f.type == "categorical"] if name == "ids_renumbered" else None

    def _late(self, before: Sequence[FaultSettings], read: Read, day: date) -> Iterator[Piece]:
        for fault in before:
            strike = Strike(fault.name, fault.strength, self._schema, self._text, self._chance(day))
            try:
                for piece in _pieces(read, day):
                    yield from kinds.only_late_rows(piece, strike)
            except MissingDayError:
                return

    def _struck(self, faults: Sequence[FaultSettings], read: Read, day: date) -> Iterator[Piece]:
        pieces: Iterable[Piece] = _pieces(read, day)
        for fault in faults:
            pieces = _applied(pieces, self._strike(fault, read, day))
        yield from pieces

    def _strike(self, fault: FaultSettings, read: Read, day: date) -> Strike:
        feature, chance = self.feature(fault.name, day), self._chance(day)
        new = _renumbering(read, day, feature, fault.strength, chance) if fault.name == "ids_renumbered" else {}
        first = next((b.rows.slice(0, 1) for b in read(day) if b.rows.num_rows), None)
        return Strike(fault.name, fault.strength, self._schema, self._text, chance, feature, new, first)

    def _chance(self, day: date) -> Chance:
        return Chance(self._seed, day.toordinal())


_NOTHING = {
    "column_gone": "the source has no feature",
    "null_burst": "the source has no feature",
    "type_changed": "the source has no feature whose type could be told from another",
    "unit_change": "the source has no number whose unit could change",
    "ids_renumbered": "the source has no ids",
}


def _applied(pieces: Iterable[Piece], strike: Strike) -> Iterator[Piece]:
    kind: Callable[[Piece, Strike], Iterator[Piece]] = getattr(kinds, strike.name)
    for piece in pieces:
        yield from kind(piece, strike)


def _pieces(read: Read, day: date) -> Iterator[Piece]:
    """Yield the day's rows with their places; it is read twice, since a place is a share of all rows."""
    total, before = sum(batch.rows.num_rows for batch in read(day)), 0
    for number, batch in enumerate(read(day)):
        count = batch.rows.num_rows
        if count or batch.broken:
            yield Piece(number, batch.rows, (before + np.arange(count)) / max(total, 1), batch.broken)
        before += count


def _renumbering(read: Read, day: date, feature: str, share: float, chance: Chance) -> dict[str, str]:
    """Return a rotation of some of the day's ids: each gets the number of another one."""
    found = {i for b in read(day) for i in pc.unique(b.rows[feature].cast(pa.string())).to_pylist() if i is not None}
    ids = sorted(found)
    draws = chance.uniform(Stream.FAULT, len(ids), column=NAMES.index("ids_renumbered"))
    chosen = [ids[i] for i in np.argsort(draws, kind="stable") if draws[i] < share]
    return dict(zip(chosen, [*chosen[1:], *chosen[:1]], strict=True))


def _batches(piece: Piece, sent: int) -> Iterator[RawBatch]:
    """Cut rows into batches, numbered by their place in the delivery; those that could not be split go first."""
    for start in range(0, max(len(piece.at), 1), MOST_ROWS):
        part = piece.rows.slice(start, MOST_ROWS)
        lines = sent + start + np.arange(1, part.num_rows + 1, dtype=np.int64)
        yield RawBatch(part, lines, () if start else piece.broken)
