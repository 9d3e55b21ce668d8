"""Files of the user: a day's files, which a path with `{day}` names, or files of many days."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from recprune.data.schema import Schema
from recprune.data.sources.access import refuse_machine
from recprune.data.sources.clock import Clock
from recprune.data.sources.csv_rows import read_csv
from recprune.data.sources.file_rules import dialect_of, problems_of_files
from recprune.data.sources.file_settings import FilesSettings
from recprune.data.sources.json_rows import JsonRows
from recprune.data.sources.many_days import ManyDays
from recprune.data.sources.parquet_rows import read_parquet, read_parquet_day
from recprune.data.sources.places import is_url, matching, shown, unchanged
from recprune.data.sources.source import Content, MissingDayError, RawBatch
from recprune.data.sources.user_schema import user_schema
from recprune.days import parse_day
from recprune.errors import SettingsError
from recprune.settings import SchemaSettings

BATCH_ROWS = 65_536


class FilesSource:
    """A day's rows, file after file in order of their paths, which are relative to the workspace."""

    name = "files"
    note = ""

    def __init__(self, settings: FilesSettings, schema: SchemaSettings) -> None:
        problems = list(problems_of_files(settings))
        try:
            self._schema = user_schema(schema)
        except SettingsError as error:
            problems.append(str(error))
        if problems:
            raise SettingsError("\n".join(problems))
        self._settings = settings
        self._first = parse_day(settings.first_day)
        self._clock = Clock(schema.time, settings.time_format)
        self.text = settings.format != "parquet"
        self.counts_on = not self.text and settings.days == "by_path"

    @property
    def reading(self) -> str:
        """Return the settings, on which rows depend besides their file."""
        return f"{self._settings}"

    def schema(self) -> Schema:
        """Return what the rows mean."""
        return self._schema

    def span(self) -> tuple[date, date | None]:
        """Return the first day; the last one is whatever was delivered last."""
        return self._first, None

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield the rows of the day's files.

        Lines count from 1 within each text file and each file of many days, and from 1 through all of a day's
        Parquet files.

        Raises:
            MissingDayError: no file matches, none holds a row of the day, or one is damaged.
        """
        names, found = self.files(day), Content()
        for name in names:
            before = found.rows if self.counts_on else 0
            for batch in self.read_file(day, name):
                found.see(batch)
                yield batch.after(before)
        last = self.ending(day, names, found)
        if last is not None:
            yield last

    def files(self, day: date) -> list[str]:
        """Return the day's files, in order of their paths.

        Raises:
            MissingDayError: no file matches.
        """
        pattern = self._pattern(day)
        names = matching(pattern)
        if not names:
            raise MissingDayError(
                f"no file matches {shown(pattern)}" + ("" if is_url(pattern) else f" (in {Path.cwd()})")
            )
        return names

    def read_file(self, day: date, name: str) -> Iterator[RawBatch]:
        """Yield the day's rows of one file, which stays as it is meanwhile.

        Raises:
            MissingDayError: it is damaged.
        """
        try:
            with unchanged(name):
                for batch in self._read_file(name, day):
                    rows = self._clock.put(batch.rows)
                    yield batch if rows is batch.rows else replace(batch, rows=rows)
        except OSError as error:
            refuse_machine(shown(name), error)
            raise MissingDayError(f"{shown(name)} cannot be read ({shown(str(error))})") from None

    def ending(self, day: date, names: list[str], found: Content) -> RawBatch | None:
        """Return rows, none, without the columns that no line of JSON has: a line may leave out what it has not.

        Raises:
            MissingDayError: there was no row.
        """
        if found.rows == 0:
            of_the_day = "" if self._settings.days == "by_path" else f" of {day}"
            raise MissingDayError(f"{shown(self._pattern(day))} holds no rows{of_the_day} ({len(names)} file(s))")
        if self._settings.format != "jsonl" or all(found.given.values()):
            return None
        left = [name for name, is_given in found.given.items() if is_given]
        rows = pa.RecordBatch.from_arrays([pa.array([], pa.string()) for _ in left], names=left)
        return RawBatch(rows, np.zeros(0, np.int64))

    def _pattern(self, day: date) -> str:
        return self._settings.path.replace("{day}", day.isoformat())

    def _read_file(self, name: str, day: date) -> Iterator[RawBatch]:
        by_path = self._settings.days == "by_path"
        if self._settings.format == "parquet":
            if by_path:
                return read_parquet(name, BATCH_ROWS)
            return read_parquet_day(name, BATCH_ROWS, self._clock, day)
        if by_path:
            return self._read_text(name)
        reading = f"{self._schema}" if self._settings.format == "jsonl" else f"{dialect_of(self._settings)}"
        return ManyDays(name, reading, lambda: self._read_text(name), self._clock).of_day(day)

    def _read_text(self, name: str) -> Iterator[RawBatch]:
        if self._settings.format == "jsonl":
            return JsonRows(self._schema, BATCH_ROWS).read(name)
        return read_csv(name, BATCH_ROWS, dialect_of(self._settings))
