"""The rules between the settings of files, and how they read a text file."""

from collections.abc import Iterator
from pathlib import Path

from recprune.data.sources.clock import problems_of_format
from recprune.data.sources.file_settings import FilesSettings
from recprune.data.sources.places import is_url, problem_of_url, shown
from recprune.data.sources.records import Dialect
from recprune.days import parse_day
from recprune.errors import SettingsError


def dialect_of(settings: FilesSettings) -> Dialect:
    """Return how a text file has its columns."""
    separator = settings.separator or ("\t" if settings.format == "tsv" else ",")
    quotes = settings.format == "csv" if settings.quotes is None else settings.quotes
    return Dialect(separator=separator, quotes=quotes, columns=settings.columns)


def problems_of_files(settings: FilesSettings) -> Iterator[str]:
    """Check the rules between settings."""
    for problem in (*_of_path(settings), *_of_columns(settings), *problems_of_format(settings.time_format)):
        yield f"params.yaml: ingest.files.{problem}"
    try:
        parse_day(settings.first_day)
    except SettingsError as error:
        yield f"params.yaml: ingest.files.first_day: {error}"


def _of_path(settings: FilesSettings) -> Iterator[str]:
    said = f"path is {shown(settings.path)!r}"
    if settings.days == "by_path" and "{day}" not in settings.path:
        yield (
            f"{said}; it must hold {{day}}, or every day would deliver the same rows: for example "
            "logs/{day}/*.parquet. Where a file holds many days, set ingest.files.days: by_time."
        )
    if settings.days == "by_time" and "{day}" in settings.path:
        yield f"{said}, days is by_time; the event time tells the day, so that the path must not hold {{day}}."
    if any("**" in part and part != "**" for part in Path(settings.path).parts):
        yield f"{said}; ** must stand alone: a/**/*.csv."
    problem = problem_of_url(settings.path) if is_url(settings.path) else None
    if problem:
        yield f"{said}; {problem}"


def _of_columns(settings: FilesSettings) -> Iterator[str]:
    is_table = settings.format in ("csv", "tsv")
    given = [name for name in ("separator", "quotes") if getattr(settings, name) is not None]
    given += ["columns"] * bool(settings.columns) + ["header"] * (not settings.header)
    if not is_table and given:
        yield f"{given[0]} is set, but format is {settings.format}, which names its own columns: remove it."
    if is_table and settings.header and settings.columns:
        yield "columns is set, and header is true; name the columns only of files without a header: header: false."
    if is_table and not settings.header and not settings.columns:
        yield "columns is empty, and header is false; without a header the columns must be named: columns: [a, b]."
    if len(set(settings.columns)) < len(settings.columns):
        yield f"columns is {list(settings.columns)}; every name must be another."
    if settings.separator is not None and (not settings.separator or set(settings.separator) & set('"\r\n')):
        yield f"separator is {settings.separator!r}; it must be text without quotes or line ends, such as ;."
    if is_table and dialect_of(settings).quotes and len(dialect_of(settings).separator) > 1:
        yield f"separator is {settings.separator!r}, of several letters, which only goes with quotes: false."
