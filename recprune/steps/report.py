"""Report: `reports/index.html` and a page per day, offline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recprune.data.verdict import VERDICT
from recprune.files import read_json, write_text
from recprune.registry.forced import forced
from recprune.registry.history import Entry, read_history
from recprune.report.day_page import day_page
from recprune.report.index import index_page
from recprune.report.record import DayRecord
from recprune.workspace import (
    REPORTS,
    DayState,
    days_with_verdict,
    delivered_path,
    genesis_day,
    read_plan,
    report_path,
    validation_path,
)

PAGE = "index.html"


def report() -> Path:
    """Write the report of the workspace, the current directory; returns the path of its index.

    A page that would not change is left alone.
    """
    genesis_day()  # raises where there is no workspace
    workspace = Path.cwd().name
    history = read_history()
    days = [_record(state, history) for state in days_with_verdict()]
    for i, day in enumerate(days):
        before = days[i - 1].day if i else None
        after = days[i + 1].day if i + 1 < len(days) else None
        _replace(REPORTS / day.day / PAGE, day_page(workspace, day, before, after))
    index = REPORTS / PAGE
    _replace(index, index_page(workspace, days, history))
    return index


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
    )


def _read(path: Path) -> dict[str, Any] | None:
    return dict(read_json(path)) if path.exists() else None


def _replace(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
