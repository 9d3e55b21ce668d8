"""Report: `reports/index.html`, a page per day and, after many days, `reports/days.html`; offline."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recprune import report as report_package
from recprune import times
from recprune.data.verdict import VERDICT
from recprune.days import number_of
from recprune.files import read_json, understood, write_text
from recprune.registry.forced import forced
from recprune.registry.history import Entry, read_history
from recprune.registry.late import read_late
from recprune.registry.revisions import read_revisions
from recprune.report.day_page import day_page
from recprune.report.index import all_days_page, index_page, is_cut
from recprune.report.record import Again, DayRecord
from recprune.workspace import (
    REPORTS,
    DayState,
    day_state,
    days_with_verdict,
    delivered_path,
    genesis_day,
    plan_path,
    planned_revisions,
    read_plan,
    report_path,
    validation_path,
)

PAGE, ALL_DAYS = "index.html", "days.html"
_MADE_FROM = 400
"""Bytes at the beginning of a day's page that say what it was made from."""


def report() -> Path:
    """Write the report of the workspace, the current directory; returns the path of its index.

    A day's page whose files have not changed is not rendered again, and no page that would not change is written.
    """
    genesis_day()  # raises where there is no workspace
    workspace = Path.cwd().name
    history = read_history()
    days = [_record(state, history) for state in days_with_verdict()]
    template = _template()
    again = _again(history)
    revised = [(day, None, None) for _, replayed in again.replays for day in replayed]
    names = [None, *(day.day for day in days), None]
    for day, before, after in [*zip(days, names, names[2:], strict=False), *revised]:
        digest = _made_from(day, template, workspace, before, after)
        page = REPORTS / day.day / PAGE
        with understood(REPORTS / day.day):
            if not _says(page, digest):
                write_text(page, day_page(workspace, day, before, after, digest))
    with understood(REPORTS):
        if is_cut(days):
            _replace(REPORTS / ALL_DAYS, all_days_page(workspace, days, history))
        _replace(REPORTS / PAGE, index_page(workspace, days, history, again))
    return REPORTS / PAGE


def _again(history: Sequence[Entry]) -> Again:
    """Return replays with their days, and amended days."""
    records = [_record(day_state(day), history) for day in planned_revisions()]
    replays = [
        (revision, tuple(each for each in records if number_of(each.day) == revision.number))
        for revision in read_revisions()
    ]
    return Again(replays=tuple(replays), amended=tuple(read_late().values()))


def is_reported(day: str) -> bool:
    """Say whether the report has a day's page, and a page of several days leads to it."""
    pages = [page for name in (PAGE, ALL_DAYS) if (page := REPORTS / name).exists()]
    link = f"{day}/{PAGE}"
    return (REPORTS / link).exists() and any(link in page.read_text(encoding="utf-8") for page in pages)


def _made_from(day: DayRecord, *more: str | None) -> str:
    """Return a digest of all that a day's page is made from."""
    digest = hashlib.sha256(repr((day.forced, more)).encode())
    for path in _files(day.day):
        digest.update(path.read_bytes() if path.exists() else b"absent")
        digest.update(b"\0")
    return digest.hexdigest()


def _files(day: str) -> list[Path]:
    json = [report_path(day, name) for name in ("prune", "evaluation", "measurements", "gate")]
    return [plan_path(day), validation_path(day) / VERDICT, delivered_path(day), times.path(day), *json]


def _template() -> str:
    """Return a digest of what makes pages: an upgrade renders them anew."""
    digest, folder = hashlib.sha256(), Path(report_package.__path__[0])
    for path in sorted((*folder.glob("*.py"), *folder.glob("templates/*"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _says(page: Path, digest: str) -> bool:
    """Say whether a page was made from this."""
    if not page.exists():
        return False
    with page.open("rb") as file:
        return digest.encode() in file.read(_MADE_FROM)


def _record(state: DayState, history: Sequence[Entry]) -> DayRecord:
    day = state.day
    return DayRecord(
        day=day,
        verdict=state.verdict or "open",
        sentence=state.sentence,
        plan=read_plan(day),
        validation=_read(validation_path(day) / VERDICT),
        prune=_read(report_path(day, "prune")),
        evaluation=_read(report_path(day, "evaluation")),
        measurements=_read(report_path(day, "measurements")),
        delivered=_read(delivered_path(day)),
        gate=_read(report_path(day, "gate")),
        forced=tuple(forced(history, day)),
        attempts=times.of_day(day),
    )


def _read(path: Path) -> dict[str, Any] | None:
    with understood(path):
        return dict(read_json(path)) if path.exists() else None


def _replace(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
