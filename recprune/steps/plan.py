"""Plan: resolve parent and champion as of before the day, and whether the served line restarts."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from recprune.data.partition import open_partition
from recprune.data.schema import Schema
from recprune.data.sources.catalog import open_source
from recprune.days import add_days, is_day, known_day, number_of, plain_day
from recprune.errors import DamagedArtefactError, LineageError
from recprune.files import MANIFEST, manifest_digest, read_json, sha256, understood, write_json, write_text
from recprune.model.change import Change, Structure, change_of, kinds, other_changes
from recprune.registry.again import revision_for
from recprune.registry.history import champion_before, current
from recprune.settings import PlanSettings, Settings
from recprune.versioning.pipeline import day_of, foreign_inputs, stored_events
from recprune.workspace import (
    DAY_YAML,
    DayState,
    command_for,
    days_before,
    genesis_day,
    harmful_days,
    plan_path,
    read_plan,
    report_path,
)

_NAMED = 4
"""Days that an error lists by name."""


def plan(settings: Settings, *, day: str, stored: Collection[str], without: Collection[str] = ()) -> dict[str, Any]:
    """Return the day's plan, made now or earlier, and put it into `day.yaml`.

    An existing plan is reused, never recomputed.

    Args:
        settings: when the served line restarts.
        day: the day.
        stored: the days that are stored.
        without: days that a trial proved to do harm; as if nothing had learned them.

    Raises:
        LineageError: a day before it has no verdict or is not stored, the day is not after genesis, or its labels
            are not complete yet.
    """
    if plan_path(day).exists():
        found = read_plan(day)
    else:
        found = _resolve(settings.plan, day, stored, without)
        _check_mature(day, settings.schema.label_delay_days if settings.schema else 0)
    restore_day(found)
    return found


def restore_day(found: dict[str, Any]) -> None:
    """Make `day.yaml` name the plan's day.

    Raises:
        LineageError: the plan is genesis', which is no day to run.
    """
    if found["kind"] == "genesis":
        raise _not_after(found["day"], found["day"])
    with understood(plan_path(found["day"])):
        names = {name: found[name] for name in ("day", "parent", "champion", "served")}
        if wrong := [name for name, day in names.items() if not is_day(day)]:
            raise ValueError(f"{wrong[0]} is {names[wrong[0]]!r}, which is no day")
    text = "# The day that dvc.yaml is about. Written by recprune plan; its plan lies in plans/.\n"
    text += yaml.safe_dump(names, sort_keys=False)
    if not DAY_YAML.exists() or DAY_YAML.read_text(encoding="utf-8") != text:
        write_text(DAY_YAML, text)


def with_change(found: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the plan with what the settings change of the schema and network that the day continues, if anything.

    What the day reads of its parent and champion must be here. A restart from a champion whose network nothing fits
    is taken back: the served line then goes on.
    """
    of = (found.get("revision") or {}).get("of")  # events that were stored keep their schema
    stored = None if of is None else open_partition(Path(stored_events(of)[0])).schema
    schema = stored or open_source(settings.ingest, settings.schema).schema()
    change = _change_since(found["parent"], schema, settings)
    new = not plan_path(found["day"]).exists()
    if found["restart"] and new and not _change_since(found["champion"], schema, settings).carved_fits:
        why = f"no restart ({found['restart']}): nothing of champion {found['champion']}'s network fits"
        found = {**found, "served": found["parent"], "restart": None, "no_restart": why}
        restore_day(found)
    return {**found, "change": None if change.is_none else change.to_json()}


def _change_since(day: str, schema: Schema, settings: Settings) -> Change:
    model, features = (Path(folder) / MANIFEST for folder in (f"models/{day}/pruned", f"data/features/{day}"))
    with understood(model):
        before = Structure.of(read_json(model)["lines"]["dense"]["shape"])
    with understood(features):
        old = Schema.from_json(read_json(features)["schema"])
    return change_of(before, kinds(old), schema, settings.model, other_changes(old, schema))


def keep_digests(found: dict[str, Any]) -> None:
    """Write the plan, with the digests of what it reads of other days; once they are all here.

    A plan that exists stays, but for what `params.yaml` changes of the schema or the network by now.
    """
    path = plan_path(found["day"])
    if not path.exists() or read_json(path).get("change") != found.get("change"):
        digests = found.get("inputs") or {each: manifest_digest(Path(each)) for each in foreign_inputs(found)}
        write_json(path, {**found, "settings": sha256(Path("params.yaml")), "inputs": digests})


def check_change(found: dict[str, Any], settings: Settings) -> None:
    """Raise if `params.yaml` now asks for another schema or network than the day was planned for.

    Raises:
        LineageError: it does; nothing that changes is learned without being named in the plan.
    """
    if found["settings"] == sha256(Path("params.yaml")):
        return
    if with_change(found, settings)["change"] != found.get("change"):
        raise LineageError(
            f"{found['day']} was planned for another schema or section model than params.yaml has now, and a change "
            f"must stand in the plan: restore them, or plan again with: recprune run --day {found['day']} --only plan"
        )


def check_digests(found: dict[str, Any]) -> None:
    """Compare what the day reads of other days with what its plan says.

    Raises:
        DamagedArtefactError: an artefact is missing or was replaced since the plan was made.
    """
    with understood(plan_path(found["day"])):
        inputs = {str(path): str(digest) for path, digest in found["inputs"].items()}
        if unnamed := [path for path in foreign_inputs(found) if path not in inputs]:
            raise ValueError(f"it has no digest of {unnamed[0]}")
    for path, digest in inputs.items():
        if manifest_digest(Path(path)) != digest:
            raise DamagedArtefactError(
                f"{path} is not what it was when {found['day']} was planned: it was replaced or rebuilt. "
                f"Bring the stored one back with: recprune fetch {day_of(path)}"
            )


def _resolve(settings: PlanSettings, day: str, stored: Collection[str], without: Collection[str]) -> dict[str, Any]:
    genesis = genesis_day()
    known_day(day)
    if day <= genesis:
        raise _not_after(day, genesis)
    before = days_before(day)
    _check_complete(day, before, stored)
    revision = revision_for(day, stored) if number_of(day) > 1 else None
    without = harmful_days(plain_day(day)) if revision else without
    before = [state for state in before if state.day not in without]
    good = [state.day for state in before if state.verdict != "quarantined" and state.finite]
    parent = good[-1] if good else genesis
    champion = current() if revision and revision["final"] else champion_before(plain_day(day))
    if champion is None:
        raise LineageError(f"{day} has no champion before it: registry/history.jsonl has no entry before that day.")
    stays = revision or champion in without  # from a champion that did harm nothing restarts
    restart = None if stays else _restart_reason(before, parent, champion, settings)
    found = {
        "format": 1,
        "kind": "day",
        "day": day,
        "parent": parent,
        "champion": champion,
        "served": champion if restart else parent,
        "restart": restart,
    }
    return found | ({"revision": revision} if revision else {})


def _not_after(day: str, genesis: str) -> LineageError:
    return LineageError(
        f"{day} is not after {genesis}, the day this workspace starts from; the first day to run is the "
        "next one. For earlier days make another workspace: recprune init DIR --start DAY"
    )


def _check_complete(day: str, before: Sequence[DayState], stored: Collection[str]) -> None:
    missing = [s.day for s in before if s.verdict is None]
    if missing:
        more = len(missing) - _NAMED
        listed = ", ".join(missing[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        has = "has" if len(missing) == 1 else "have"
        raise LineageError(
            f"{day} cannot be planned: {listed} before it {has} no verdict, and a "
            f"warm start must not skip a day. Run first: recprune run --from {missing[0]} --to {missing[-1]}"
        )
    for state in before:
        if state.day not in stored:
            raise LineageError(
                f"{day} cannot be planned: {state.day} has a verdict but is not stored. "
                f"Finish it with: {command_for(state.day)}"
            )


def _check_mature(day: str, delay: int) -> None:
    """Refuse a day whose labels still come in; without a delay the source alone says what there is."""
    complete, today = add_days(day, delay), datetime.now(UTC).date().isoformat()
    if delay and today <= complete:
        raise LineageError(
            f"{day} cannot be planned: its labels are complete when {complete} is over (schema.label_delay_days is "
            f"{delay}), and today is {today} (UTC). Run it from {add_days(complete, 1)} on."
        )


def _restart_reason(before: Sequence[DayState], parent: str, champion: str, settings: PlanSettings) -> str | None:
    """Say why the served line restarts from the champion, or None."""
    if parent == champion:
        return None
    held = 0
    for state in reversed(before):
        if state.verdict == "quarantined":
            continue
        if state.verdict != "held":
            break
        held += 1
        if read_plan(state.day)["restart"]:
            break
    if held >= settings.max_holds:
        return f"{held} days in a row were held (plan.max_holds {settings.max_holds})"
    report = report_path(parent, "evaluation")
    found = read_json(report) if report.exists() else {}
    # after a rollback the parent was compared with another champion, which says nothing
    low = found["line"]["low"] if found.get("champion_day") == champion else None
    if low is not None and low > settings.restart_margin:
        return f"the served line is proved {100 * low:.1f} % worse than the champion (plan.restart_margin)"
    return None
