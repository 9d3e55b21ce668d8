"""A day that passed validation but surprised every model: whether the next one learns from it, a trial decides.

The trial costs no training: the lines after that day and the lines before it are both stored. It sees at most half of
the next day's head, and these rows count for none of that day's figures.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict
from statistics import median
from typing import Any

from recprune.files import read_json
from recprune.report import formats
from recprune.settings import Settings
from recprune.steps import plan as planning
from recprune.workspace import genesis_day, plan_path, read_plan, report_path

FEWEST, WINDOW = 7, 14
"""Days of the lineage that a day is compared with: none is suspicious before there are so many, and at most so many."""
DEVIATIONS = 4.0
"""Robust standard deviations above the median NE from which on a day is suspicious."""
CONFIDENCE = 0.99
"""Of the trial's interval; without proof the day stays learned."""


def plan_with_trials(
    day: str, settings: Settings, stored: Collection[str], say: Callable[[str], None]
) -> dict[str, Any]:
    """Return a day's plan, which goes on from before its parent if that one is suspicious and learning it did harm.

    The day before that may be suspicious too: it is tried in its turn, for its own trial was on the rows of a day that
    did harm. A plan that was made before is left as it is.

    Args:
        day: the day.
        settings: of the day.
        stored: the days that are stored.
        say: told what the trials found.
    """
    known = plan_path(day).exists()
    found = planning.plan(settings, day=day, stored=stored)
    if known or found.get("revision"):
        return found
    trials: list[dict[str, Any]] = []
    rows: dict[str, Any] | None = None
    while found["parent"] != genesis_day() and (why := suspicion(found["parent"])):
        trial, seen = _trial(day, found["parent"], why, settings, say)
        trials.append(trial)
        rows = rows or seen
        if not trial["left_out"]:
            break
        harmful = [each["suspicious"] for each in trials]
        found = planning.plan(settings, day=day, stored=stored, without=harmful)
    for trial in trials:
        trial["sentence"] = _sentence(day, found["parent"], trial)
        say(trial["sentence"])
    return found | ({"trials": trials} if trials else {}) | ({"trial_rows": rows} if rows else {})


def _trial(
    day: str, suspicious: str, why: str, settings: Settings, say: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return what came of a trial on a day, and the rows that it saw if they could decide anything."""
    told: dict[str, Any] = {"suspicious": suspicious, "why": why, "left_out": False}
    before = read_plan(suspicious)
    if before.get("change"):
        return told | {"none": f"the schema or the network changed on {suspicious}"}, None
    from recprune.daily.trial import beside  # torch; most days need none here

    done = beside(day, (suspicious, before["parent"]), settings, say)
    if isinstance(done, str):
        return told | {"none": done}, None
    outcome, rows = done
    low = outcome.paired.low
    told |= {"left_out": low is not None and low > 0, "rows": outcome.rows, "confidence": CONFIDENCE}
    told |= {"with": outcome.first, "without": outcome.second, "difference": asdict(outcome.paired)}
    return told, None if low is None else rows.to_json()


def suspicion(day: str) -> str:
    """Say why a day is suspicious, empty if it is not: the dense model's NE on it, before it learned it, stands out.

    (NE − median) / (1.4826 · MAD) over the last days of its lineage; MAD: median absolute deviation.
    """
    ne, earlier = _ne(day), [value for each in _lineage(day) if (value := _ne(each)) is not None]
    if ne is None or len(earlier) < FEWEST:
        return ""
    middle = median(earlier)
    spread = 1.4826 * median(abs(value - middle) for value in earlier)
    if spread <= 0 or (ne - middle) / spread <= DEVIATIONS:
        return ""
    return (
        f"NE of the dense model {ne:.4f}, {(ne - middle) / spread:.1f} deviations above the {middle:.4f} of the "
        f"{len(earlier)} days before"
    )


def _lineage(day: str) -> list[str]:
    """Return the last days that a day's models learned, latest first."""
    found: list[str] = []
    while len(found) < WINDOW and (day := read_plan(day)["parent"]) != genesis_day():
        found.append(day)
    return found


def _ne(day: str) -> float | None:
    path = report_path(day, "evaluation")
    found = read_json(path)["next_day"]["ne"].get("dense") if path.exists() else None
    return None if found is None else float(found)


def _sentence(day: str, parent: str, trial: dict[str, Any]) -> str:
    told = f"{trial['suspicious']} is suspicious ({trial['why']}). "
    if "none" in trial:
        return f"{told}It is not tried, for {trial['none']}: it stays learned."
    paired, rows = trial["difference"], f"{trial['rows']:,} rows of {day}"
    if paired["low"] is None:
        return f"{told}The trial's {rows} are too few to tell anything: it stays learned."
    low, high = formats.signed(paired["low"]), formats.signed(paired["high"])
    told += f"On {rows}, which count for no figure of that day, NE is {formats.number(trial['with'])} with it and "
    told += f"{formats.number(trial['without'])} without it (with − without {low} to {high}, "
    told += f"{100 * trial['confidence']:g} % interval): "
    return told + (f"{day} goes on from {parent}, without it." if trial["left_out"] else "it stays learned.")
