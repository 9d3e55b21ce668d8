"""Promotions by force: a held day serves because somebody said so, until a day."""

from collections.abc import Sequence

from recprune.days import days_apart, plain_day
from recprune.errors import DamagedArtefactError, SettingsError
from recprune.registry.history import Entry

LONGEST = 30
"""Days from a day to the last one that it may serve by force."""
NEEDED = ("finite", "schema", "parity")
"""Rules that a day must have passed: what broke one of them cannot serve."""


def check_terms(day: str, why: str, until: str, today: str) -> None:
    """Check reason and end of a promotion by force.

    Args:
        day: that is to serve.
        why: the reason.
        until: the last day that it serves.
        today: the last day that was planned.

    Raises:
        SettingsError: the reason is empty, or the end is none that could come, or too far away.
    """
    if not why.strip():
        raise SettingsError(
            "--why is empty; a promotion by force stands in registry/history.jsonl and on every page with its reason: "
            "say what the gate does not know."
        )
    if until <= day:
        raise SettingsError(
            f"--until {until} is not after {day}; it is the last day that {day} serves: name a later one."
        )
    if days_apart(day, until) > LONGEST:
        raise SettingsError(
            f"--until {until} is {days_apart(day, until)} days after {day}, and a day serves by force for {LONGEST} at "
            "most; what is to last is a matter of limits: change the section gate of params.yaml."
        )
    if until <= today:
        raise SettingsError(
            f"--until {until} has passed, {today} was run already; it is the last day that {day} serves: name a later "
            "one."
        )


def champion_of_before(entries: Sequence[Entry]) -> str:
    """Return who serves again when the present promotion by force ends: the last champion that was not forced.

    Raises:
        DamagedArtefactError: nothing was ever promoted but by force.
    """
    for entry in reversed(entries):
        if entry.event != "forced":
            return entry.champion
    raise DamagedArtefactError(
        "registry/history.jsonl holds promotions by force alone, and begins with genesis: its first lines are gone; it "
        "is in git: git checkout -- registry/history.jsonl"
    )


def in_force(entries: Sequence[Entry]) -> Entry | None:
    """Return the entry by which the present champion serves by force; None if it serves by its merits."""
    return entries[-1] if entries and entries[-1].event == "forced" else None


def has_expired(entries: Sequence[Entry], day: str) -> bool:
    """Say whether the present champion serves by force, and longer than it may, when a day runs."""
    entry = in_force(entries)
    return entry is not None and plain_day(day) > entry.until


def forced(entries: Sequence[Entry], day: str) -> list[Entry]:
    """Return the promotions by force of a day, oldest first."""
    return [entry for entry in entries if entry.event == "forced" and entry.champion == day]


def ended_by(entries: Sequence[Entry], entry: Entry) -> Entry | None:
    """Return what followed a promotion by force; None while it serves."""
    after = list(entries).index(entry) + 1
    return entries[after] if after < len(entries) else None
