"""Late and amended data: what a source has changed of a stored day, what that makes stale, and what to do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from recprune.daily.fetch import check_stored, fetch_missing
from recprune.daily.replay import estimate
from recprune.daily.run import working
from recprune.data.amendments import Amendment
from recprune.data.events import DayOfEvents
from recprune.data.features import split_tail
from recprune.data.partition import open_partition
from recprune.data.sources.catalog import open_source
from recprune.data.vocabulary import Vocabulary
from recprune.days import in_order, number_of, parse_day
from recprune.errors import SettingsError
from recprune.model.checkpoint import load_lines
from recprune.model.threads import use_threads
from recprune.registry.history import FOLDER
from recprune.registry.late import Late, note, read_late
from recprune.registry.revisions import left_out, name_of
from recprune.settings import Settings, read_settings
from recprune.steps.ingest import read_amended, read_stored
from recprune.training.trial import SAMPLE, Outcome, Side, compare, sampled
from recprune.versioning import git
from recprune.versioning.pipeline import stored_events
from recprune.workspace import day_state, genesis_day, planned_days, planned_revisions, read_plan, stale_days


@dataclass(frozen=True, kw_only=True, slots=True)
class LatePlan:
    """What `recprune plan-late` found of a day."""

    amended: Amendment
    name: str
    """Under which name later days know it: itself, or its revision."""
    stale: tuple[str, ...]
    """Later days that learned it as it was, directly or through their parents."""
    seconds: float | None
    """How long a replay from the day on would take, as the last days took."""
    trial: Outcome | None
    """NE of a line that learned the day as it is now, beside one that learned it as it was stored."""
    trial_on: str
    """On which rows; or why there is no trial."""
    choice: Late | None
    """What was chosen already about the very same delivery."""


def plan_late(day: str, say: Callable[[str], None]) -> LatePlan:
    """Compare a stored day with what its source delivers now, and note what was found.

    Raises:
        RecpruneError: the day is not stored.
    """
    genesis_day()
    with working(f"recprune plan-late {day}"):
        settings, name = read_settings(Path()), _stored_name(day)
        fetch_missing(stored_events(name), say)
        found, stored, now = read_amended(settings, day, name)
        known = read_late().get(day)
        if not found.is_none and (known is None or known.delivered != found.digest):
            known = Late(day=day, delivered=found.digest, choice="found", told=found.describe())
            _record(known)
        stale = stale_days(day)
        trial, on = (None, "nothing was amended")
        if not found.is_none:
            trial, on = _trial(name, stored, now, settings, say)
        seconds = estimate(day, planned_days()[-1])
        return LatePlan(
            amended=found, name=name, stale=tuple(stale), seconds=seconds, trial=trial, trial_on=on, choice=known
        )


def choose(day: str, choice: Literal["ignore", "correct"], why: str) -> Late:
    """Note what is to be done about an amended day.

    Args:
        day: for which `plan_late` found something.
        choice: `ignore`, or `correct`: the next day learns the changed rows besides its own.
        why: goes into the history.

    Raises:
        SettingsError: nothing was found, or no reason is given for ignoring it.
    """
    genesis_day()
    with working(f"recprune plan-late {day}"):
        known = read_late().get(parse_day(day).isoformat())
        if known is None:
            raise SettingsError(f"nothing is known to be amended of {day}; look first: recprune plan-late {day}")
        if choice == "ignore" and not why.strip():
            raise SettingsError("--why is empty; say why what was amended may be ignored: it stands in the history.")
        if choice == "correct" and left_out(day, day):
            raise SettingsError(
                f"{day} was left out by a replay, and nothing goes on from it: there is none to correct."
            )
        if choice == "correct" and day_state(name_of(day)).verdict == "quarantined":
            raise SettingsError(
                f"{day} was quarantined and nothing learned it, so that a pass over the changed rows corrects nothing; "
                f"learn it with: recprune replay --from {day} --amended {day}"
            )
        chosen = Late(day=known.day, delivered=known.delivered, choice=choice, told=why or known.told)
        _record(chosen)
        return chosen


def _stored_name(day: str) -> str:
    if number_of(day) > 1:
        raise SettingsError(f"{day} is a revision; give the day itself: recprune plan-late {day.partition('.')[0]}")
    if parse_day(day).isoformat() == genesis_day():
        raise SettingsError(f"{day} is genesis, which was learned in one pass and is not learned again by itself.")
    check_stored(day)
    return name_of(day)


def _record(late: Late) -> None:
    note(late)
    git.publish([str(FOLDER)], f"Registry: {late.day} amended: {late.choice}\n\n{late.told}")


def _trial(
    name: str, stored: DayOfEvents, now: DayOfEvents, settings: Settings, say: Callable[[str], None]
) -> tuple[Outcome | None, str]:
    """Learn the day both ways from its parent's served line, and score what came next."""
    if day_state(name).verdict == "quarantined":
        return None, f"{name} was quarantined, nothing learned it"
    if now.problems:
        return None, "the delivery of now would be quarantined"
    plan, schema = read_plan(name), open_partition(Path(stored_events(name)[0])).schema
    if plan.get("change") or open_source(settings.ingest, settings.schema).schema() != schema:
        return None, f"the schema or the network changed on {name} or since"
    model, vocabulary = (Path(f"models/{plan['parent']}/pruned"), Path(f"vocab/{plan['parent']}"))
    fetch_missing([str(model), str(vocabulary)], say)
    use_threads(settings.train.threads)
    begun = Side(load_lines(model)[0]["served"], Vocabulary.read(vocabulary))
    learned, rows, on = _rows(name, now.events, stored.events, settings, say)
    share = SAMPLE / max(stored.events.height, 1)
    sides = [begun.after(sampled(each, share), schema, settings, 0) for each in learned]
    for each in learned:  # a boundary that moved: what either learned tells nothing
        rows = rows.join(each, on="row_hash", how="anti", maintain_order="left")
    return compare(sides[0], sides[1], sampled(rows, SAMPLE / max(rows.height, 1)), schema), on


def _rows(
    name: str, now: pl.DataFrame, stored: pl.DataFrame, settings: Settings, say: Callable[[str], None]
) -> tuple[list[pl.DataFrame], pl.DataFrame, str]:
    """Return which rows of a day each side learns, on which rows both are scored, and what these are.

    The next day that was learned tells, by which time the day's tail was learned too; is there none, then that tail.
    """
    for day in sorted([*planned_days(), *planned_revisions()], key=in_order):
        if (
            in_order(day) > in_order(name)
            and read_plan(day)["parent"] == name
            and day_state(day).verdict in ("passed", "held")
        ):
            fetch_missing(stored_events(day), say)
            return [now, stored], read_stored(day)[0].events, f"on {day}"
    (head, tail), (before, _) = (split_tail(each, settings.featurize.tail) for each in (now, stored))
    return [head, before], tail, f"on the tail of {name}"
