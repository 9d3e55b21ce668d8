"""The pages of several days: `reports/index.html`, and `reports/days.html` once there are many."""

from collections.abc import Sequence
from typing import Any

from recprune.registry.history import Entry
from recprune.report import figures
from recprune.report.day_page import gate_rows
from recprune.report.pages import render
from recprune.report.recent import checked, durations
from recprune.report.record import Again, DayRecord, Json, decisions

SHOWN = 90
"""Days and changes of champion that the index shows, the last ones; a page of its own lists all."""


def index_page(workspace: str, days: Sequence[DayRecord], history: Sequence[Entry], again: Again | None = None) -> str:
    """Return the page one opens every morning.

    Args:
        workspace: its name, for the title.
        days: every planned day after genesis, oldest first; no revisions.
        history: what served when, oldest first.
        again: replays and amended days.
    """
    judged = [day for day in days if day.verdict != "open"]
    measured = [day for day in judged if day.evaluation is not None]
    gated = [day for day in judged if day.gate is not None]
    return render(
        "index.html.j2",
        workspace=workspace,
        days=list(reversed(days[-SHOWN:])),
        count=len(days),
        today=judged[-1] if judged else None,
        unfinished=[day.day for day in days if day.verdict == "open"],
        last=measured[-1] if measured else None,
        fastest=_fastest(measured),
        gated=gated[-1] if gated else None,
        rules=gate_rows(gated[-1].gate) if gated else [],
        checked=checked(days),
        durations=durations(days),
        champion=serving(history),
        history=list(reversed(history[-SHOWN:])),
        decisions=list(reversed(decisions(list(days))[-SHOWN:])),
        counted={word: sum(day.verdict == word for day in days) for word in ("passed", "held", "quarantined")},
        cut=is_cut(days),
        again=again or Again(),
        **_figures(days[-SHOWN:]),
    )


def all_days_page(workspace: str, days: Sequence[DayRecord], history: Sequence[Entry]) -> str:
    """Return the page that lists every day and every change of champion; arguments as for the index."""
    return render("days.html.j2", workspace=workspace, days=list(reversed(days)), history=list(reversed(history)))


def is_cut(days: Sequence[DayRecord]) -> bool:
    """Say whether there are more days than the index shows."""
    return len(days) > SHOWN


def serving(history: Sequence[Entry]) -> Entry | None:
    """Return the entry by which the present champion came to serve: the first of its last stretch."""
    found = None
    for entry in history:
        if found is None or entry.champion != found.champion:
            found = entry
    return found


def _fastest(measured: Sequence[DayRecord]) -> tuple[str, Json] | None:
    """Return the smallest batch whose latency was measured last, and its times."""
    if not measured or measured[-1].measurements is None:
        return None
    found = measured[-1].measurements["latency"]["candidate"]
    return min(found.items(), key=lambda item: int(item[0]), default=None)


def _figures(days: Sequence[DayRecord]) -> dict[str, Any]:
    if not any(day.validation for day in days):
        return {"charts": None}
    charts = {
        "entropy": figures.entropy(days),
        "base_rate": figures.base_rate(days),
        "tax": figures.tax(days),
        "rows": figures.rows(days),
        "layers": figures.layers(days),
        "churn": figures.churn(days),
        "takeovers": figures.takeovers(days),
        "size": figures.bundle_size(days),
        "latencies": figures.latencies(days),
    }
    return {"charts": charts}
