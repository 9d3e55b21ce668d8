"""A day that passed validation but surprised every model: whether the next one learns from it, a trial decides.

The trial costs no training: the lines after that day and the lines before it are both stored, and the next day's first
half has been learned by neither.
"""

from collections.abc import Callable
from dataclasses import asdict
from statistics import median
from typing import Any

from recprune.files import read_json
from recprune.report import formats
from recprune.settings import Settings
from recprune.workspace import genesis_day, plan_path, read_plan, report_path

FEWEST, WINDOW = 7, 14
"""Days of the lineage that a day is compared with: none is suspicious before there are so many, and at most so many."""
DEVIATIONS = 4.0
"""Robust standard deviations above the median NE from which on a day is suspicious."""
CONFIDENCE = 0.99
"""Of the trial's interval; without proof the day stays learned."""


def with_trial(found: dict[str, Any], settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Return a day's plan, its parent replaced by that one's parent if learning the suspicious parent did harm.

    A plan that was made before is left as it is.

    Args:
        found: the plan, as `plan` resolved it.
        settings: of the day.
        say: told what the trial found.
    """
    day, parent = found["day"], found["parent"]
    if plan_path(day).exists() or found.get("revision") or parent == genesis_day():
        return found
    why = suspicion(parent)
    before = read_plan(parent)
    if not why or before.get("change"):
        return found
    from recprune.daily.trial import beside  # torch; most days need none here

    outcome = beside(day, (parent, before["parent"]), settings, say)
    if outcome is None:
        return found
    harm = outcome.paired.low is not None and outcome.paired.low > 0
    trial = {"suspicious": parent, "why": why, "rows": outcome.rows, "with": outcome.first, "without": outcome.second}
    trial |= {"difference": asdict(outcome.paired), "confidence": CONFIDENCE, "left_out": harm}
    trial["sentence"] = _sentence(found, before["parent"], trial)
    say(trial["sentence"])
    told = {**found, "trial": trial}
    if harm:
        told |= {"parent": before["parent"]}
        told |= {"served": before["parent"]} if found["served"] == parent else {}
    return told


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


def _sentence(found: dict[str, Any], before: str, trial: dict[str, Any]) -> str:
    parent, day, paired = trial["suspicious"], found["day"], trial["difference"]
    told = f"{parent} is suspicious ({trial['why']}). On the first half of {day}, {trial['rows']:,} rows, "
    if trial["with"] is None or paired["difference"] is None:
        return f"{told}nothing can be told of a model without it, so that it stays learned."
    told += f"NE is {trial['with']:.4f} with it and {trial['without']:.4f} without it"
    if paired["low"] is not None:
        low, high = formats.percent(paired["low"]), formats.percent(paired["high"])
        told += f" (with − without {low} to {high}, {100 * trial['confidence']:g} % interval)"
    if trial["left_out"]:
        return f"{told}: {day} goes on from {before}, without it."
    return f"{told}: it stays learned."
