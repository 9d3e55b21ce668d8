"""Days whose source has changed since they were stored, and what was chosen to do about each: `registry/late.jsonl`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from recprune.registry.history import FOLDER
from recprune.registry.lines import append_line, read_lines, user

LATE = FOLDER / "late.jsonl"
Choice = Literal["found", "ignore", "correct", "replay"]
_CHOICES = ("found", "ignore", "correct", "replay")


@dataclass(frozen=True, kw_only=True, slots=True)
class Late:
    """An amended day."""

    day: str
    delivered: str
    """Digest of the rows as the source delivered them."""
    choice: Choice
    """`found`: nothing was chosen yet."""
    told: str
    """What was amended; or why this was chosen."""


def read_late() -> dict[str, Late]:
    """Return the last word on each amended day.

    Raises:
        DamagedArtefactError: a line cannot be read.
    """
    found: dict[str, Late] = {}

    def take(told: dict[str, Any]) -> None:
        if told["choice"] not in _CHOICES:
            raise ValueError(f"choice is {told['choice']!r}")
        late = Late(**{name: told[name] for name in ("day", "delivered", "choice", "told")})
        found[late.day] = late

    read_lines(LATE, take)
    return found


def note(late: Late) -> None:
    """Add a word on a day."""
    FOLDER.mkdir(exist_ok=True)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"day": late.day, "delivered": late.delivered, "choice": late.choice, "told": late.told}
    append_line(LATE, json.dumps({**about, "at": at, "who": user()}, ensure_ascii=False))


def unchosen(days: Iterable[str]) -> list[Late]:
    """Return the amended days among some for which nothing was chosen yet, in order."""
    found = read_late()
    return [found[day] for day in sorted(days) if day in found and found[day].choice == "found"]
