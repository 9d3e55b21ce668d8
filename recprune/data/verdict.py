"""The verdict on a day's data: a file, never an exit code."""

from pathlib import Path
from typing import Any

from recprune.errors import RecpruneError
from recprune.files import read_json, understood

VERDICT = "verdict.json"


def read_verdict(validation: Path) -> dict[str, Any]:
    """Read the verdict that `validate` wrote.

    Raises:
        DamagedArtefactError: it is missing, or none of the two verdicts.
    """
    file = validation / VERDICT
    found = read_json(file)
    with understood(file):
        if found["verdict"] not in ("good", "quarantined"):
            raise ValueError(f"verdict is {found['verdict']!r}")
        if found["verdict"] == "quarantined" and not isinstance(found["sentence"], str):
            raise TypeError(f"sentence is {found['sentence']!r}")
        return dict(found)


def refuse_quarantined(validation: Path, day: str) -> None:
    """Raise if the day is quarantined, or if the verdict is another day's.

    Raises:
        RecpruneError: nothing may learn from this day.
    """
    verdict = read_verdict(validation)
    if verdict.get("day") != day:
        raise RecpruneError(
            f"{validation} is the verdict on {verdict.get('day')}, not on {day}; run validate for {day}."
        )
    if verdict["verdict"] != "good":
        raise RecpruneError(
            f"{day} is quarantined and is not learned from: {verdict['sentence']} "
            "Later days go on from the last good one."
        )
