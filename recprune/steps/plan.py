"""Plan: resolve parent and champion as of before the day, and whether the served line restarts."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

from recprune.days import parse_day
from recprune.errors import DamagedArtefactError, LineageError
from recprune.files import manifest_digest, read_json, sha256, write_json, write_text
from recprune.registry.history import champion_before
from recprune.settings import PlanSettings, Settings
from recprune.versioning.pipeline import day_of, foreign_inputs
from recprune.workspace import (
    DAY_YAML,
    DayState,
    days_before,
    genesis_day,
    plan_path,
    read_plan,
    report_path,
)

_NAMED = 4
"""Days that an error lists by name."""


def plan(settings: Settings, *, day: str, stored: Collection[str]) -> dict[str, Any]:
    """Return the day's plan, made now or earlier, and put it into `day.yaml`.

    An existing plan is reused, never recomputed.

    Args:
        settings: when the served line restarts.
        day: the day.
        stored: the days that are stored.

    Raises:
        LineageError: a day before it has no verdict or is not stored, or the day is not after genesis.
    """
    found = read_plan(day) if plan_path(day).exists() else _resolve(settings.plan, day, stored)
    restore_day(found)
    return found


def restore_day(found: dict[str, Any]) -> None:
    """Make `day.yaml` name the plan's day.

    Raises:
        LineageError: the plan is genesis', which is no day to run.
    """
    if found["kind"] == "genesis":
        raise _not_after(found["day"], found["day"])
    names = {name: found[name] for name in ("day", "parent", "champion", "served")}
    text = "# The day that dvc.yaml is about. Written by recprune plan; its plan lies in plans/.\n"
    text += yaml.safe_dump(names, sort_keys=False)
    if not DAY_YAML.exists() or DAY_YAML.read_text(encoding="utf-8") != text:
        write_text(DAY_YAML, text)


def keep_digests(found: dict[str, Any]) -> None:
    """Write the plan, with the digests of what it reads of other days; once they are all here."""
    if not plan_path(found["day"]).exists():
        digests = {path: manifest_digest(Path(path)) for path in foreign_inputs(found)}
        write_json(plan_path(found["day"]), {**found, "settings": sha256(Path("params.yaml")), "inputs": digests})


def check_digests(found: dict[str, Any]) -> None:
    """Compare what the day reads of other days with what its plan says.

    Raises:
        DamagedArtefactError: an artefact is missing or was replaced since the plan was made.
    """
    for path, digest in found["inputs"].items():
        if manifest_digest(Path(path)) != digest:
            raise DamagedArtefactError(
                f"{path} is not what it was when {found['day']} was planned: it was replaced or rebuilt. "
                f"Bring the stored one back with: recprune fetch {day_of(path)}"
            )


def _resolve(settings: PlanSettings, day: str, stored: Collection[str]) -> dict[str, Any]:
    genesis = genesis_day()
    parse_day(day)
    if day <= genesis:
        raise _not_after(day, genesis)
    before = days_before(day)
    _check_complete(day, before, stored)
    good = [state.day for state in before if state.verdict != "quarantined" and state.finite]
    parent = good[-1] if good else genesis
    champion = champion_before(day)
    if champion is None:
        raise LineageError(f"{day} has no champion before it: registry/history.jsonl has no entry before that day.")
    restart = _restart_reason(before, parent, champion, settings)
    return {
        "format": 1,
        "kind": "day",
        "day": day,
        "parent": parent,
        "champion": champion,
        "served": champion if restart else parent,
        "restart": restart,
    }


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
                f"Finish it with: recprune run --day {state.day}"
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
