"""What a replay is asked for, and whether it makes sense."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recprune.daily.fetch import fetch_missing
from recprune.daily.replay_schemas import check_schemas, schema_of_now
from recprune.data.events import read_events
from recprune.data.exclusion import Exclusion, parse_exclusion
from recprune.data.partition import open_partition
from recprune.days import add_days, date_of, days_between, parse_day, plain_day
from recprune.errors import SettingsError
from recprune.registry.again import exclusions_of
from recprune.registry.history import current
from recprune.registry.revisions import left_out, name_of
from recprune.settings import read_settings
from recprune.versioning.pipeline import stored_events
from recprune.workspace import day_state, harmful_days, planned_days


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be learned once more."""

    first: str
    without: tuple[str, ...] = ()
    """What is left out, as `Exclusion` reads it."""
    amended: tuple[str, ...] = ()
    """Days that are read from the source again."""
    why: str = ""


def with_kept_out(asked: Asked, last: str) -> Asked:
    """Return what is asked for, without what earlier replays and trials left out; a day read again comes back.

    Args:
        asked: what is asked for.
        last: the last stored day.
    """
    chosen = {*asked.without, *asked.amended}
    harmful = (plain_day(each) for day in planned_days() for each in harmful_days(day))
    days = [*left_out(asked.first, last), *harmful]
    kept = [day for day in days if asked.first <= day <= last and day not in chosen]
    kept += [text for day in asked.amended for text in exclusions_of(name_of(day)) if text not in chosen]
    return replace(asked, without=(*asked.without, *dict.fromkeys(kept)))


def check(asked: Asked, genesis: str, last: str) -> None:
    """Check what is asked for, before hours are spent on it.

    Args:
        asked: what is asked for.
        genesis: the day that no replay reaches.
        last: the last stored day.

    Raises:
        SettingsError: a day is none that was run here, something to be left out is no such thing, the champion has
            learned all that the replay could be compared on, or days that are read again have a schema that cannot
            work among the others.
    """
    first, exclusions = parse_day(asked.first).isoformat(), [parse_exclusion(text) for text in asked.without]
    if not genesis < first <= last:
        raise SettingsError(
            f"--from {first} is no day that was run here; these were: {add_days(genesis, 1)} to {last}."
        )
    for each in exclusions:
        if not first <= each.day <= last:
            raise SettingsError(
                f"--without {each.text}: {each.day} is not among the days to learn once more, {first} to {last}; begin "
                f"earlier: recprune replay --from {each.day}"
            )
        _check_column(each, asked.amended)
    for day in asked.amended:
        if not first <= parse_day(day).isoformat() <= last:
            raise SettingsError(f"--amended {day} is not among the days to learn once more, {first} to {last}.")
    whole = {each.day for each in exclusions if each.whole_day}
    if both := sorted(whole & set(asked.amended)):
        raise SettingsError(f"{both[0]} is to be left out and to be read again; choose one.")
    learned = _learned((day for day in days_between(first, last) if day not in whole), asked.amended)
    _check_comparable(learned)
    check_schemas(learned, asked.amended)


def check_rest(left: Iterable[str], amended: Collection[str]) -> None:
    """Check the days that an open replay still has to learn: params.yaml may have changed since it began.

    Raises:
        SettingsError: days that are read again have a schema that cannot work among the others.
    """
    check_schemas(_learned(left, amended), amended)


def _learned(days: Iterable[str], amended: Collection[str]) -> list[str]:
    """Return those of some calendar days that a replay learns, as far as can be known."""
    return [day for day in days if day in amended or day_state(name_of(day)).verdict != "quarantined"]


def _check_column(wanted: Exclusion, amended: Collection[str]) -> None:
    if wanted.column and wanted.day in amended:
        wanted.rows(read_events((), schema_of_now(read_settings(Path())), date_of(wanted.day), text=False).events)
    elif wanted.column:
        name = name_of(wanted.day)
        fetch_missing(stored_events(name), print)
        wanted.rows(open_partition(Path(stored_events(name)[0])).scan().head(0).collect())


def _check_comparable(learned: Sequence[str]) -> None:
    """Raise if the champion is of a later day than the last one to learn: it knows that one's tail too."""
    champion = current()
    if learned and date_of(champion) > date_of(learned[-1]):
        raise SettingsError(
            f"champion {champion} has learned every row of {learned[-1]}, the last day that would be learned once "
            "more, so that the two cannot be compared. Let an earlier one serve first: recprune rollback"
        )
