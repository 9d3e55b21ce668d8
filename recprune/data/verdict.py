"""The verdict on a day's data: a file, never an exit code."""

from pathlib import Path
from typing import Any

from recprune.errors import RecpruneError
from recprune.files import read_json

VERDICT = "verdict.json"


def read_verdict(validation: Path) -> dict[str, Any]:
    """Read the verdict that `validate` wrote."""
    return dict(read_json(validation / VERDICT))


def refuse_quarantined(validation: Path, day: str) -> None:
    """Raise if the day is quarantined, or if the verdict is another day's.

    Raises:
        RecpruneError: nothing may learn from this day.
    """
    verdict = read_verdict(validation)
    if verdict["day"] != day:
        raise RecpruneError(f"{validation} is the verdict on {verdict['day']}, not on {day}; run validate for {day}.")
    if verdict["verdict"] != "good":
        raise RecpruneError(
            f"{day} is quarantined and is not learned from: {verdict['sentence']} "
            "Later days go on from the last good one."
        )
