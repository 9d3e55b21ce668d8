"""A day's files, each typed and checked by itself, wherever; put together, they are the day as if it was read at once.

Each piece depends on its file as it is now; one that changed has no piece yet.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from recprune.data.accepted import LINE, PART_ROWS, Accepted, key_of, with_hash
from recprune.data.ahead import ahead
from recprune.data.events import Check, Checked, DayOfEvents, no_events, whole_aside
from recprune.data.shelf import Shelf
from recprune.data.sources.places import shown, version
from recprune.data.sources.source import ByFile, Content, MissingDayError
from recprune.errors import DamagedArtefactError
from recprune.files import understood

_ASIDE = "aside.parquet"


class _Rows:
    """Writes accepted rows, with their hashes and lines, to a folder as they come."""

    def __init__(self, folder: Path, key: Sequence[str]) -> None:
        self._folder, self._key = folder, key
        self._frames: list[pl.DataFrame] = []
        self._pending = self._written = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take the next rows."""
        self._frames.append(with_hash(rows, self._key))
        self._pending += rows.height
        if self._pending >= PART_ROWS:
            self.write()

    def write(self) -> None:
        """Write what was taken."""
        if self._pending:
            path = self._folder / _rows_name(self._written)
            pl.concat(self._frames).write_parquet(path, compression="lz4")
            self._frames, self._pending, self._written = [], 0, self._written + 1


def _rows_name(number: int) -> str:
    return f"rows-{number:04d}.parquet"


@dataclass(frozen=True, slots=True)
class Piece:
    """What was found in one file."""

    path: Path
    files: int
    """Of accepted rows."""
    checked: Checked
    content: Content
    missing: str | None
    """Why the file breaks off, if it does."""

    def rows(self) -> Iterator[pl.DataFrame]:
        """Yield the accepted rows, with their hashes and lines."""
        return (pl.read_parquet(self.path / _rows_name(number)) for number in range(self.files))


@dataclass
class Pieces:
    """A day's pieces, those that are there and those that are not."""

    source: ByFile
    day: date
    _together: list[str] = field(default_factory=list, init=False)
    """Names of the pieces that were put together."""

    @cached_property
    def names(self) -> list[str]:
        """The day's files, in order; none if there is none."""
        with suppress(MissingDayError):
            return self.source.files(self.day)
        return []

    def share(self, part: int, parts: int) -> list[str]:
        """Return the files of one of several parts: every so many-th, as files of neighbouring hours are alike.

        >>> ["a", "b", "c", "d", "e"][2 - 1 :: 3]
        ['b', 'e']
        """
        return self.names[part - 1 :: parts]

    def lacking(self, names: Sequence[str]) -> list[str]:
        """Return those of some files that have no piece and can have one: it is known when they change."""
        pieces = ((name, self._piece(name)) for name in names)
        return [name for name, piece in pieces if piece is not None and not self._shelf.has(piece)]

    def are_there(self, say: Callable[[str], None]) -> bool:
        """Say whether some file has a piece.

        Args:
            say: is told if there are pieces, but none fits.
        """
        made = self._shelf.count()
        if made and not any(piece is not None and self._shelf.has(piece) for piece in map(self._piece, self.names)):
            say(
                f"{made} pieces lie in {self._shelf.folder}, none of the files, settings and version of now; "
                "the day is read here as a whole"
            )
            return False
        return made > 0

    def make(self, name: str) -> str:
        """Read, type and check one file, and return the name of its piece.

        Raises:
            RecpruneError: the file cannot be read here, or changes meanwhile.
        """
        piece, told = self._piece(name) or f"unknown-{uuid4().hex[:8]}", dict[str, Any]()
        with self._shelf.make(piece, told) as folder:
            told |= self._write(name, folder)
        return piece

    def put_together(self, folder: Path, say: Callable[[str], None]) -> DayOfEvents:
        """Write the accepted rows of all files to a folder, each key once and in order of time.

        Args:
            folder: of the events.
            say: is told of the files that have no piece; those are read here.

        Returns:
            all but the events, which it has none of.
        """
        schema, missing = self.source.schema(), None
        accepted, seen, found = Accepted(no_events(schema), schema.key, folder), Checked(), Content()
        there = [self._piece(name) for name in self.names]
        self._tell_missing(there, say)
        for name, its in zip(self.names, there, strict=True):
            piece = self._open(name, its, say)
            self._together.append(piece.path.name)
            after = found.rows if self.source.counts_on else 0
            for rows in ahead(piece.rows()):
                accepted.add_hashed(rows.with_columns(pl.col(LINE) + after))
            _add(seen, piece.checked, after)
            found.add(piece.content)
            if missing := piece.missing:
                break
        missing = missing or self._end(found, seen, accepted)
        day = seen.day(accepted)
        day.problems.extend([missing] if missing else [])
        return day

    def are_together(self) -> bool:
        """Say whether the day was put together from the files as they are now."""
        return self._shelf.are_together([self._piece(name) or "" for name in self.names])

    def clear(self) -> None:
        """Remove all pieces; of those that were put together, remember which."""
        self._shelf.clear(self._together)

    def _write(self, name: str, folder: Path) -> dict[str, Any]:
        schema, missing = self.source.schema(), []
        seen, content, rows = Checked(), Content(), _Rows(folder, key_of(no_events(schema), schema.key))

        def delivered() -> Iterator[Any]:
            try:
                for batch in self.source.read_file(self.day, name):
                    content.see(batch)
                    yield batch
            except MissingDayError as error:
                missing.append(str(error))

        self._check.batches(delivered(), seen, rows)
        rows.write()
        whole_aside(seen.aside).write_parquet(folder / _ASIDE, compression="lz4")
        told = {"problems": list(seen.problems), "columns": seen.columns, "given": content.given}
        return {"read": seen.read, **told, "missing": missing[0] if missing else None}

    @property
    def _check(self) -> Check:
        return Check(self.source.schema(), self.day, self.source.text)

    def _open(self, name: str, piece: str | None, say: Callable[[str], None]) -> Piece:
        if piece is None or not self._shelf.has(piece):
            return self._read(self.make(name))
        try:
            return self._read(piece)
        except DamagedArtefactError as error:
            say(f"{error}; {shown(name)} is read again")
            self._shelf.remove(piece)
            return self._read(self.make(name))

    def _read(self, piece: str) -> Piece:
        path, told = self._shelf.open(piece)
        with understood(path):
            seen = Checked(
                aside=[pl.read_parquet(path / _ASIDE)],
                problems=dict.fromkeys(told["problems"]),
                columns=dict(told["columns"]),
                read=told["read"],
            )
            content = Content(told["read"], dict(told["given"]))
            files = sum(file.startswith("rows-") for file in told["files"])
        return Piece(path, files, seen, content, told["missing"])

    def _end(self, found: Content, seen: Checked, accepted: Accepted) -> str | None:
        """Add what follows the last file; returns why there is no day, if so."""
        try:
            last = self.source.ending(self.day, self.names, found)
        except MissingDayError as error:
            return str(error)
        if last is not None:
            self._check.batches([last], seen, accepted)
        return None

    def _tell_missing(self, there: Sequence[str | None], say: Callable[[str], None]) -> None:
        pieces = zip(self.names, there, strict=True)
        left = [name for name, piece in pieces if piece is None or not self._shelf.has(piece)]
        if left:
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            say(
                f"{len(left)} of {len(there)} files have no piece, or changed since it was made, and are read here: "
                f"{shown(left[0])}{more}"
            )

    @property
    def _shelf(self) -> Shelf:
        return Shelf(str(self.day), "ingest")

    def _piece(self, name: str) -> str | None:
        """Return the name of a file's piece; None if it cannot be told whether the file changes."""
        try:
            now = version(name, anywhere=True)
        except OSError:  # whoever reads it says why
            return None
        source = self.source
        return now and self._shelf.name([source.name, source.reading, source.schema().to_json(), name, now])


def _add(seen: Checked, piece: Checked, after: int) -> None:
    """Add what was found in one file, whose lines come after so many."""
    seen.aside += [frame.with_columns(pl.col("line") + after) for frame in piece.aside]
    seen.problems |= piece.problems
    seen.columns |= piece.columns
    seen.read += piece.read
