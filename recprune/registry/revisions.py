"""Revisions: past days that were learned once more, in order, and whether later days go on from them.

`registry/revisions.jsonl` is append-only. A replay begins, and ends adopted or dropped; its days are `DAY.r2`, and
nothing of the days that they revise changes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from recprune.days import days_between, is_day, number_of, revised
from recprune.registry.history import FOLDER
from recprune.registry.lines import append_line, read_lines, user

REVISIONS = FOLDER / "revisions.jsonl"
_EVENTS = ("begun", "adopted", "dropped")


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """One replay: the days from `first` on, learned once more."""

    number: int
    """Of its days, `DAY.r2`; counted from 2."""
    first: str
    without: tuple[str, ...] = ()
    """What is left out, as `recprune replay --without` takes it."""
    amended: tuple[str, ...] = ()
    """Days that are read from the source again; the others are taken as they were stored."""
    why: str = ""
    state: str = "begun"
    """`begun`, `adopted` or `dropped`."""
    last: str = ""
    """The last calendar day that it is about, once it has ended."""
    final: str = ""
    """Its last day that was judged, whose bundle serves if it was adopted."""
    told: str = ""
    """How it ended, in a sentence."""

    def excised(self, day: str) -> bool:
        """Say whether a whole day is left out."""
        return day in self.without

    def describe(self) -> str:
        """Say what it does."""
        told = f"r{self.number}, from {self.first}"
        told += f" without {', '.join(self.without)}" if self.without else ""
        return told + (f", {', '.join(self.amended)} read again" if self.amended else "")

    def covers(self, day: str) -> bool:
        """Say whether it is about a day."""
        return self.first <= day and (not self.last or day <= self.last)


def read_revisions() -> list[Revision]:
    """Return every replay as it stands, oldest first.

    Raises:
        DamagedArtefactError: a line cannot be read.
    """
    found: dict[int, Revision] = {}
    read_lines(REVISIONS, partial(_take, found))
    return list(found.values())


def _take(found: dict[int, Revision], told: dict[str, Any]) -> None:
    event, number = told["event"], told["number"]
    if event not in _EVENTS or not isinstance(number, int):
        raise ValueError(f"event {event!r} of {number!r}")
    if event != "begun":
        found[number] = replace(
            found[number], state=event, last=str(told["last"]), final=str(told["final"]), told=str(told["why"])
        )
        return
    if number in found or not is_day(told["first"]):
        raise ValueError(f"revision {number} from {told['first']!r} begins twice, or from no day")
    without, amended = (tuple(map(str, told[name])) for name in ("without", "amended"))
    found[number] = Revision(number=number, first=told["first"], without=without, amended=amended, why=str(told["why"]))


def begin(first: str, without: Sequence[str], amended: Sequence[str], why: str) -> Revision:
    """Begin a replay, with the next number."""
    number = max((each.number for each in read_revisions()), default=1) + 1
    _record("begun", number, why, first=first, without=list(without), amended=list(amended))
    return read_revisions()[-1]


def end(number: int, state: str, last: str, final: str, why: str) -> None:
    """End a replay: `adopted`, so that later days go on from its final day, or `dropped`."""
    _record(state, number, why, last=last, final=final)


def _record(event: str, number: int, why: str, **more: Any) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    FOLDER.mkdir(exist_ok=True)
    told = {"event": event, "number": number, **more, "why": why, "at": at, "who": user()}
    append_line(REVISIONS, json.dumps(told, ensure_ascii=False))


def names(days: Sequence[str], number: int = 1) -> list[str]:
    """Return under which names days are known to a later one; a day that was left out has none.

    Args:
        days: calendar days, in order.
        number: of the revision that the later day belongs to; 1 if to none.
    """
    known = [*adopted_before(number), *(each for each in read_revisions() if each.number == number)]
    found = (_name(day, known) for day in days)
    return [name for name in found if name]


def name_of(day: str) -> str:
    """Return under which name later days know a calendar day; the day itself if a replay left it out."""
    return _name(day, adopted_before(1)) or day


def events_of(day: str, number: int) -> str:
    """Return the name whose events a revision of a calendar day takes: the last one that was adopted before it."""
    return _name(day, adopted_before(number)) or day


def adopted_before(number: int) -> list[Revision]:
    """Return the adopted replays with a lower number, for 1 all of them."""
    return [each for each in read_revisions() if each.state == "adopted" and (number == 1 or each.number < number)]


def _name(day: str, known: Sequence[Revision]) -> str | None:
    for each in reversed(known):
        if each.covers(day):
            return None if each.excised(day) else revised(day, each.number)
    return day


def left_out(first: str, last: str) -> list[str]:
    """Return the calendar days that adopted replays left out as a whole."""
    known = adopted_before(1)
    return [day for day in days_between(first, last) if _name(day, known) is None]


def days_of(revision: Revision, last: str) -> list[str]:
    """Return the names of a replay's days up to a calendar day."""
    dates = (day for day in days_between(revision.first, last) if not revision.excised(day))
    return [revised(day, revision.number) for day in dates]


def is_adopted(day: str) -> bool:
    """Say whether a revision's day is one that later days go on from."""
    return any(each.number == number_of(day) and each.state == "adopted" for each in read_revisions())
