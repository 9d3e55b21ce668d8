"""What `dvc.yaml` says: which paths a day writes, and which paths of other days it reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from recprune.errors import RecpruneError

STAGES = ("ingest", "validate", "featurize", "train", "prune", "export", "evaluate", "gate")
QUARANTINED_STAGES = ("ingest", "validate")


def outputs(day: str, stages: tuple[str, ...] = STAGES, *, cached: bool = True) -> list[str]:
    """Return the dated outputs of a day, those in DVC's cache or those in git."""
    found = []
    for name, stage in _stages().items():
        if name not in stages:
            continue
        for out in stage["outs"]:
            path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            if options.get("cache", True) == cached and "${day}" in path:
                found.append(path.replace("${day}", day))
    return found


def foreign_inputs(days: Mapping[str, Any]) -> list[str]:
    """Return what a day reads of other days, each path once.

    Args:
        days: values of the variables `parent`, `champion`, `served`; a plan has them. Of a revision that takes the
            events as they were stored also `revision`, which names the day that has them; `corrections` names days
            whose changed rows are learned too.
    """
    found: dict[str, None] = {}
    revision = days.get("revision") or {}
    if revision.get("of") is not None:
        found |= dict.fromkeys(stored_events(revision["of"]))
    if revision.get("final"):  # which rows its champion has not learned
        found[f"data/features/{days['champion']}"] = None
    for correction in days.get("corrections", []):
        for day in (correction["of"], *correction["after"]):
            found |= dict.fromkeys(stored_events(day))
    for stage in _stages().values():
        for path in stage.get("deps", []):
            for name in ("parent", "champion", "served"):
                if f"${{{name}}}" in path:
                    found[path.replace(f"${{{name}}}", days[name])] = None
    return list(found)


def stored_events(day: str) -> list[str]:
    """Return where a day's events, and the rows that were set aside, lie."""
    return outputs(day, ("ingest",))


def left_behind(day: str) -> list[str]:
    """Return what a day must leave behind for later ones: every path that is read as a parent's or champion's."""
    return foreign_inputs(dict.fromkeys(("parent", "champion", "served"), day))


def day_of(path: str) -> str:
    """Return the day that a dated path belongs to, empty if it has none.

    >>> day_of("models/2017-03-05/pruned")
    '2017-03-05'
    """
    return next((part for part in Path(path).parts if part[:4].isdigit()), "")


def _stages() -> dict[str, Any]:
    file = Path("dvc.yaml")
    if not file.exists():
        raise RecpruneError(f"{Path.cwd()} is not a workspace: dvc.yaml is missing; make one with: recprune init DIR")
    try:
        stages = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]
        for name in STAGES:
            paths = [*stages[name]["outs"], *stages[name].get("deps", [])]
            if wrong := [path for path in paths if not isinstance(path, str) and not _is_out(path)]:
                raise ValueError(f"stage {name} names {wrong[0]!r}, which is no path")
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise RecpruneError(
            f"{file} is not the pipeline of recprune's steps ({told}); bring back the stored one with: "
            f"git checkout -- {file}"
        ) from None
    return {name: stages[name] for name in STAGES}


def _is_out(path: object) -> bool:
    """Say whether it is a path with options, as in `reports/x: {cache: false}`."""
    if not isinstance(path, dict) or len(path) != 1:
        return False
    name, options = next(iter(path.items()))
    return isinstance(name, str) and isinstance(options, dict)
