"""Corrections: rows of amended days that the next day learns besides its own."""

from collections.abc import Callable
from typing import Any

from recprune.daily.fetch import fetch_missing
from recprune.registry.again import corrections_for
from recprune.settings import Settings
from recprune.versioning.pipeline import stored_events
from recprune.workspace import plan_path


def with_corrections(found: dict[str, Any], settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Return a day's plan with the corrections that are due; one whose source delivers other rows by now is put off.

    Args:
        found: the plan, its parent settled.
        settings: of the day.
        say: told what is learned besides, and what is put off.
    """
    if plan_path(found["day"]).exists() or found.get("revision"):
        return found
    due = []
    for each in corrections_for(found["parent"]):
        from recprune.steps.ingest import read_amended  # most days correct nothing

        fetch_missing([path for day in (each["of"], *each["after"]) for path in stored_events(day)], say)
        amended, _, _ = read_amended(settings, each["day"], each["of"])
        if amended.problems or amended.digest != each["delivered"]:
            say(
                f"{found['day']} does not correct {each['day']}: its source delivers other rows than when that was "
                f"chosen; look again with: recprune plan-late {each['day']}"
            )
            continue
        say(f"{found['day']} learns the changed rows of {each['day']} too: {amended.describe()}.")
        due.append(each)
    return found | ({"corrections": due} if due else {})
