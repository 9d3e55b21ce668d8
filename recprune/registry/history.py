"""The registry: an append-only history of what served when, and an atomic pointer that follows it."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from recprune.days import in_order, is_day
from recprune.errors import RecpruneError
from recprune.files import manifest_digest, to_json, write_json
from recprune.registry.lines import append_line, drop_half_line, read_lines, user
from recprune.registry.reserve import with_reserve

FOLDER = Path("registry")
HISTORY = FOLDER / "history.jsonl"
CURRENT = FOLDER / "current.json"
Event = Literal["genesis", "promoted", "rollback", "forced", "expired"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One change of what serves."""

    event: Event
    day: str
    """Business day of the change: it holds for every later day."""
    champion: str
    """Day of the bundle that serves from now on."""
    bundle: str
    """Digest of the bundle's manifest."""
    why: str
    at: str
    """Clock time, UTC."""
    who: str = ""
    """User of the operating system; empty in entries of before this was recorded."""
    until: str = ""
    """Last business day of a promotion by force; empty of all others."""

    def reason(self) -> str:
        """Say in words how this champion came to serve, and why where somebody decided it."""
        if self.event in ("genesis", "promoted"):
            return self.event
        until = f" until {self.until}" if self.until else ""
        return f"{self.event}{until}: {self.why}"


def read_history() -> list[Entry]:
    """Return all entries, oldest first; a last line without its end was never acknowledged and is no entry.

    Raises:
        DamagedArtefactError: a line cannot be read.
    """
    entries: list[Entry] = []

    def take(told: dict[str, Any]) -> None:
        entry = _entry(told)
        if not entries and entry.event in ("rollback", "expired"):
            raise ValueError(f"it begins with {entry.event}, and the lines before are gone")
        entries.append(entry)

    read_lines(HISTORY, take)
    return entries


def _entry(values: dict[str, Any]) -> Entry:
    """Check an entry that was read: what serves must not depend on a line that nobody wrote.

    Raises:
        ValueError: a value is none that `record` writes.
        TypeError: a name is missing, or is none of an entry.
    """
    entry = Entry(**values)
    for name, value in asdict(entry).items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is {value!r}")
        value.encode()
    if entry.event not in get_args(Event):
        raise ValueError(f"event is {entry.event!r}")
    days = {"day": entry.day, "champion": entry.champion} | ({"until": entry.until} if entry.event == "forced" else {})
    if wrong := [name for name, day in days.items() if not is_day(day)]:
        raise ValueError(f"{wrong[0]} is {days[wrong[0]]!r}, which is no day")
    return entry


def champion_before(day: str) -> str | None:
    """Return the champion as of before a day."""
    return next((e.champion for e in reversed(read_history()) if in_order(e.day) < in_order(day)), None)


def record(event: Event, day: str, champion: str, bundle: Path, why: str, *, until: str = "") -> None:
    """Add an entry, then move the pointer. Killed between the two, `follow` moves it later."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    digest = manifest_digest(bundle)
    entry = Entry(event=event, day=day, champion=champion, bundle=digest, why=why, at=at, who=user(), until=until)
    FOLDER.mkdir(exist_ok=True)
    told = {name: value for name, value in asdict(entry).items() if value or name != "until"}
    line = json.dumps(told, ensure_ascii=False)
    with_reserve(lambda: append_line(HISTORY, line))
    follow()


def follow() -> None:
    """Make the pointer say what the history's last entry says."""
    drop_half_line(HISTORY)
    with_reserve(_move_pointer)


def _move_pointer() -> None:
    entries = read_history()
    if not entries:
        return
    last = entries[-1]
    wanted: dict[str, Any] = {
        "champion": last.champion,
        "bundle": f"bundles/{last.champion}",
        "digest": last.bundle,
    }
    wanted |= {"since": last.day, "event": last.event, "why": last.why}
    wanted |= {"until": last.until} if last.until else {}
    if not CURRENT.exists() or CURRENT.read_bytes() != to_json(wanted).encode():
        write_json(CURRENT, wanted)


def current() -> str:
    """Return the champion that serves now.

    Raises:
        RecpruneError: nothing was ever promoted here.
    """
    entries = read_history()
    if not entries:
        raise RecpruneError(f"{Path.cwd()} has no champion yet; make a workspace with: recprune init DIR")
    return entries[-1].champion
