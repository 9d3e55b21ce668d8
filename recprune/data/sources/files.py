"""Files of the user: the Parquet or CSV files that a path with `{day}` names."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recprune.data.schema import Schema
from recprune.data.sources.csv_rows import read_csv
from recprune.data.sources.source import MissingDayError, RawBatch
from recprune.data.sources.user_schema import user_schema
from recprune.days import parse_day
from recprune.errors import SettingsError
from recprune.settings import FilesSettings, SchemaSettings

BATCH_ROWS = 65_536


class FilesSource:
    """A day's files, in order of their paths, which are relative to the workspace."""

    name = "files"

    def __init__(self, settings: FilesSettings, schema: SchemaSettings) -> None:
        problems = list(_problems(settings))
        try:
            self._schema = user_schema(schema)
        except SettingsError as error:
            problems.append(str(error))
        if problems:
            raise SettingsError("\n".join(problems))
        self._settings = settings
        self._first = parse_day(settings.first_day)
        self.text = settings.format == "csv"

    def schema(self) -> Schema:
        """Return what the rows mean."""
        return self._schema

    def span(self) -> tuple[date, date | None]:
        """Return the first day; the last one is whatever was delivered last."""
        return self._first, None

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield the rows of the day's files.

        Lines count from 1 within each CSV file, and from 1 through all of a day's Parquet files.

        Raises:
            MissingDayError: no file matches, none holds a row, or one is damaged.
        """
        pattern = self._settings.path.replace("{day}", day.isoformat())
        paths = matching(pattern)
        if not paths:
            raise MissingDayError(f"no file matches {pattern} (in {Path.cwd()})")
        sent = 0
        for path in paths:
            try:
                for batch in read_csv(path, BATCH_ROWS) if self.text else _read_parquet(path, sent):
                    sent += len(batch.lines) + len(batch.broken)
                    yield batch
            except (pa.ArrowException, OSError) as error:
                raise MissingDayError(f"{path} cannot be read ({error})") from None
        if sent == 0:
            raise MissingDayError(f"{pattern} holds no rows ({len(paths)} file(s))")


def matching(pattern: str) -> list[Path]:
    """Return the files that a path or glob names, sorted; hidden ones only if its own name is hidden."""
    path = Path(pattern)
    found = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    hidden = path.name.startswith(".")
    return sorted(p for p in found if p.is_file() and (hidden or not p.name.startswith(".")))


def _read_parquet(path: Path, sent: int) -> Iterator[RawBatch]:
    with pq.ParquetFile(path) as file:
        for rows in file.iter_batches(batch_size=BATCH_ROWS):
            if rows.num_rows:
                yield RawBatch(rows=rows, lines=sent + np.arange(1, rows.num_rows + 1, dtype=np.int64))
                sent += rows.num_rows


def _problems(settings: FilesSettings) -> Iterator[str]:
    if "{day}" not in settings.path:
        yield (
            f"params.yaml: ingest.files.path is {settings.path!r}; it must hold {{day}}, or every day would "
            "deliver the same rows: for example logs/{day}/*.parquet."
        )
    if any("**" in part and part != "**" for part in Path(settings.path).parts):
        yield f"params.yaml: ingest.files.path is {settings.path!r}; ** must stand alone: a/**/*.csv."
    try:
        parse_day(settings.first_day)
    except SettingsError as error:
        yield f"params.yaml: ingest.files.first_day: {error}"
