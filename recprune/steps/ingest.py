"""Ingest: one typed Parquet partition; rejected, duplicate and late rows set aside with a reason each."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date as calendar_day
from functools import partial
from pathlib import Path

import polars as pl

from recprune.data.amendments import Amendment, amendment, changed_rows
from recprune.data.events import DayOfEvents, read_events, write_events
from recprune.data.exclusion import leave_out, parse_exclusion
from recprune.data.partition import About, fill_partition, open_partition, read_again, write_partition
from recprune.data.pieces import Pieces
from recprune.data.sources.catalog import open_source
from recprune.data.sources.source import ByFile, KnowsTheBest, MissingDayError, RawBatch, Source
from recprune.data.trial_rows import TrialRows
from recprune.days import date_of, number_of, plain_day
from recprune.files import understood
from recprune.progress import Progress, note
from recprune.registry.again import exclusions_of
from recprune.settings import Settings
from recprune.versioning.pipeline import stored_events
from recprune.workspace import plan_path, read_plan


def ingest(settings: Settings, *, day: str, events: Path, rejected: Path) -> None:
    """Read the day from the source and write what can be used, what cannot, and the counts.

    Whatever the source delivers, or does not, is written down for `validate` to judge. A revision takes the events as
    they were stored, unless its plan says that they were amended, and leaves out what its plan names.
    """
    told = read_plan(day)["revision"] if number_of(day) > 1 else {"of": None, "without": []}
    wanted = [parse_exclusion(text) for text in told["without"]]
    also = _corrections(settings, day)
    if told["of"] is None and not wanted:
        pieces = _pieces(settings, day)
        fill_partition(partial(_write_source, settings, day, pieces), day, events, rejected, also)
        if pieces is not None:
            pieces.clear()
        return
    found, about = read_source(settings, day) if told["of"] is None else read_stored(told["of"])
    if wanted:
        found, about = leave_out(found, wanted), replace(about, teacher_ne=None)
    write_partition(found, _with_trial(about, day), day, events, rejected, also)


def ingest_part(settings: Settings, *, day: str, part: int, parts: int, events: Path) -> str:
    """Read one of several parts of a day's files, so that `ingest` need only put together what was found.

    Any number of parts may be read at the same time, each as often as one likes.

    Args:
        settings: of now; under others, what was found is of no use.
        day: the calendar day.
        part: from 1.
        parts: their number; each reads every so many-th file.
        events: where `ingest` writes the day.

    Returns:
        what was done, in a sentence.
    """
    pieces = _pieces(settings, day)
    if pieces is None:
        return f"source {settings.ingest.source} is not read file by file; ingest reads the day as a whole"
    if events.exists() and pieces.are_together():
        return "the day is put together already"
    share = pieces.share(part, parts)
    lacking = pieces.lacking(share)
    with Progress("ingest", len(lacking)) as progress:
        for done, name in enumerate(lacking, start=1):
            pieces.make(name)
            progress.to(done)
    return f"{len(share)} of {len(pieces.names)} files; {len(lacking)} were read now"


def _with_trial(about: About, day: str) -> About:
    """Name the rows by which a trial chose the day's parent; the best NE, if any, is that of all rows."""
    trial = _trial_rows(day)
    return about if trial is None else replace(about, trial=trial, teacher_ne=None)


def _trial_rows(day: str) -> TrialRows | None:
    """Return the rows by which a trial chose the day's parent, of a revision that of the day that it revises."""
    path = plan_path(plain_day(day))
    told = read_plan(plain_day(day)).get("trial_rows") if path.exists() else None
    with understood(path):
        return None if told is None else TrialRows.from_json(told)


def _corrections(settings: Settings, day: str) -> dict[str, pl.DataFrame]:
    """Return the changed rows of amended days that the day learns besides its own, by day."""
    found = {}
    for each in read_plan(day).get("corrections", []) if plan_path(day).exists() else []:
        _, stored, now = read_amended(settings, each["day"], each["of"])
        rows = changed_rows(stored.events, now.events)
        for earlier in each["after"]:
            rows = changed_rows(open_partition(Path(stored_events(earlier)[0])).corrected(), rows)
        found[str(each["day"])] = rows
    return found


def read_amended(settings: Settings, day: str, name: str) -> tuple[Amendment, DayOfEvents, DayOfEvents]:
    """Return what a source has changed of a day, the day as it was stored, and as it is now.

    Args:
        settings: of now.
        day: the calendar day.
        name: under which later days know it; what was left out of a revision is left out again.
    """
    stored, now = read_stored(name)[0], read_source(settings, day)[0]
    now = leave_out(now, [parse_exclusion(text) for text in exclusions_of(name)])
    return amendment(day, stored.events, now), stored, now


def read_source(settings: Settings, day: str) -> tuple[DayOfEvents, About]:
    """Return what the source delivers for a day now, typed and checked."""
    return _read(settings, day, read_events)


def _write_source(settings: Settings, day: str, pieces: Pieces | None, folder: Path) -> tuple[DayOfEvents, About]:
    """Write the events that the source delivers for a day as they come, and return all else.

    Where parts have read some of the day's files, what they found is put together.
    """
    if pieces is not None and pieces.are_there(note):
        found = pieces.put_together(folder, note)
        about = About(schema=pieces.source.schema(), source=pieces.source.name, note=pieces.source.note)
    else:
        found, about = _read(settings, day, partial(write_events, folder=folder))
    return found, _with_trial(about, day)


def _pieces(settings: Settings, day: str) -> Pieces | None:
    """Return the pieces of a day, None of a source that is not read file by file."""
    source = open_source(settings.ingest, settings.schema)
    return Pieces(source, date_of(day)) if isinstance(source, ByFile) else None


def _read(settings: Settings, day: str, how: Callable[..., DayOfEvents]) -> tuple[DayOfEvents, About]:
    source = open_source(settings.ingest, settings.schema)
    date, schema = date_of(day), source.schema()
    missing: list[str] = []
    found = how(_delivered(source.read(date), missing), schema, date, text=source.text)
    found.problems.extend(missing)
    best = None if missing else _best(source, date)
    return found, About(schema=schema, source=source.name, teacher_ne=best, note=source.note)


def read_stored(day: str) -> tuple[DayOfEvents, About]:
    """Return a day's events as they were stored."""
    events, rejected = map(Path, stored_events(day))
    return read_again(events, rejected)


def _delivered(batches: Iterable[RawBatch], missing: list[str]) -> Iterator[RawBatch]:
    """Yield what there is; a day that is missing, or breaks off, becomes a sentence."""
    try:
        yield from batches
    except MissingDayError as error:
        missing.append(str(error))


def _best(source: Source, date: calendar_day) -> float | None:
    """Return the NE of the true probabilities, where the source knows them and both labels occur."""
    best = source.teacher_normalized_entropy(date) if isinstance(source, KnowsTheBest) else math.nan
    return best if math.isfinite(best) else None
