"""How long each step of a day took on this machine: `.recprune/times/DAY.jsonl`, a line per attempt.

Measured times are no artefact: they are not versioned, no digest covers them, and a day without them is whole.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from recprune.errors import DISK_FULL
from recprune.printable import told

FOLDER = Path(".recprune/times")
RUN = "RECPRUNE_RUN"
"""Environment variable: the scheduler's run that starts the command, as the report names it."""
_LONGEST = 2000
"""Characters of an error that are kept."""
LAST = 14
"""Days from which the usual time of a step is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One run of a step."""

    step: str
    at: str
    """When it began, ISO 8601 in UTC."""
    seconds: float
    done: bool
    """False: it failed."""
    run: str = ""
    """The scheduler's run that started it; empty from the command line."""
    error: str = ""
    """What it said, if it failed."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What a step, or a day, takes."""

    seconds: float
    """The median."""
    fastest: float
    slowest: float
    days: int


def path(day: str) -> Path:
    """Return where a day's times lie."""
    return FOLDER / f"{day}.jsonl"


def note(day: str, step: str, at: datetime, seconds: float, error: BaseException | None = None) -> None:
    """Add an attempt to the day's; on a full disk it goes unnoted."""
    attempt = Attempt(
        step=step,
        at=at.isoformat(timespec="seconds"),
        seconds=round(seconds, 2),
        done=error is None,
        run=os.environ.get(RUN, ""),
        error="" if error is None else told(str(error) or type(error).__name__)[:_LONGEST],
    )
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        torn = path(day).exists() and not path(day).read_bytes().endswith(b"\n")  # a killed command wrote half a line
        with path(day).open("a", encoding="utf-8") as file:
            file.write("\n" * torn + json.dumps(asdict(attempt)) + "\n")
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise


def attempts(text: str) -> tuple[Attempt, ...]:
    """Read a day's attempts, oldest first; a line that was cut off by a full disk or a power cut is left out."""
    found = []
    for line in text.splitlines():
        try:
            found.append(Attempt(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return tuple(attempt for attempt in found if isinstance(attempt.seconds, int | float))


def of_day(day: str) -> tuple[Attempt, ...]:
    """Read a day's attempts; none where nothing was noted."""
    return attempts(path(day).read_text(encoding="utf-8", errors="replace")) if path(day).exists() else ()


def took(day: Iterable[Attempt]) -> dict[str, float]:
    """Return the seconds of each step that was done, its last attempt.

    >>> from dataclasses import replace
    >>> attempt = Attempt(step="train", at="2024-01-01T00:00:00+00:00", seconds=4.0, done=True)
    >>> took([attempt, replace(attempt, seconds=9.0, done=False)])
    {'train': 4.0}
    """
    return {attempt.step: attempt.seconds for attempt in day if attempt.done}


def usual(days: Sequence[dict[str, float]]) -> dict[str, Usual]:
    """Return what each step takes: over its last `LAST` days that did it.

    >>> usual([{"train": 4.0}, {}, {"train": 9.0}, {"train": 5.0}])
    {'train': Usual(seconds=5.0, fastest=4.0, slowest=9.0, days=3)}
    """
    seconds: dict[str, list[float]] = {}
    for day in reversed(days):
        for step, each in day.items():
            if len(found := seconds.setdefault(step, [])) < LAST:
                found.append(each)
    return {step: Usual(median(found), min(found), max(found), len(found)) for step, found in seconds.items()}
