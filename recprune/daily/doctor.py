"""Examine an installation and a workspace; each finding comes with its remedy."""

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from recprune.daily.repair import changed_files, damaged_artefacts, pointer_is_behind
from recprune.daily.run import check_machine
from recprune.environment import cpu_bfloat16, cpu_class
from recprune.errors import RecpruneError, SettingsError
from recprune.lock import FOLDER, holder_of, is_held
from recprune.registry import history
from recprune.registry.revisions import read_revisions
from recprune.settings import read_settings
from recprune.versioning import git
from recprune.versioning.dvc import dvc, remote_folder
from recprune.versioning.remote import committed_secrets
from recprune.workspace import day_state, genesis_day, planned_days, planned_revisions

_PACKAGES = ("dvc", "great-expectations", "numpy", "onnx", "onnxruntime", "polars", "torch", "apache-airflow")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    kind: Literal["good", "bad", "note"]
    text: str


def examine() -> list[Finding]:
    """Look at versions, the workspace, its remote, locks and artefacts."""
    found = [*_versions(), *_workspace()]
    if any(finding.kind == "bad" for finding in found):
        return found
    return [*found, *_machine(), *_remote(), *_locks(), *_days(), *_artefacts()]


def _versions() -> list[Finding]:
    told = [f"Python {platform.python_version()}", cpu_class(), *filter(None, [cpu_bfloat16()])]
    for name in _PACKAGES:
        try:
            told.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            told.append(f"{name} absent")
    missing = [name for name in ("git",) if shutil.which(name) is None]
    found = [Finding("good", ", ".join(told))]
    return found + [Finding("bad", f"{name} is not on PATH; install it") for name in missing]


def _workspace() -> list[Finding]:
    try:
        read_settings(Path())
        days = planned_days()
        return [Finding("good", f"workspace {Path.cwd()}: genesis {genesis_day()}, {len(days) - 1} days planned")]
    except RecpruneError as error:
        return [Finding("bad", line) for line in str(error).splitlines()]


def _machine() -> list[Finding]:
    try:
        check_machine(read_settings(Path()).train)
    except SettingsError as error:
        return [Finding("bad", str(error))]
    return []


def _remote() -> list[Finding]:
    remotes = dvc("remote", "list").strip()
    if not remotes:
        return [Finding("bad", "no DVC remote; add one with: dvc remote add --default NAME URL")]
    folder = remote_folder()
    if folder is not None and not folder.is_dir() and not git.is_source_repository():
        way_out = "mount it, or name its new place with: dvc remote modify store url FOLDER"
        return [Finding("bad", f"the DVC remote {folder.resolve()} is not there; {way_out}")]
    return [Finding("good", f"DVC remote: {remotes}"), *(Finding("bad", told) for told in committed_secrets())]


def _locks() -> list[Finding]:
    found = []
    for path in sorted(FOLDER.glob("*.lock")):
        if is_held(path):
            holder = holder_of(path)
            who = f"`{holder.get('command')}` (process {holder.get('pid')})"
            found.append(Finding("note", f"lock {path.stem} is held by {who}; it goes when that ends"))
    return found or [Finding("good", "no lock is held")]


def _days() -> list[Finding]:
    stored = set() if git.is_source_repository() else git.stored_days()
    open_days = [day for day in planned_days()[1:] if day not in stored]
    found = [Finding("good", f"champion {history.current()}")]
    if pointer_is_behind():
        told = f"{history.CURRENT} does not say what {history.HISTORY} says; the next command mends it, and --repair"
        found.append(Finding("note", told))
    if open_days and not git.is_source_repository():
        state = day_state(open_days[0]).verdict or "no verdict"
        found.append(Finding("note", f"{open_days[0]} is not finished ({state}): recprune run --day {open_days[0]}"))
    for each in read_revisions():
        if each.state == "begun":
            way_out = f"go on with it: recprune replay --from {each.first} …, or end it: recprune replay --drop"
            found.append(Finding("note", f"replay {each.describe()} is open; {way_out}"))
    return found


def _artefacts() -> list[Finding]:
    """Check every artefact here against its manifest, and every artefact of a champion for presence."""
    checked, damaged = damaged_artefacts()
    found = [Finding("bad", why) for why in damaged.values()]
    stored = [] if git.is_source_repository() else sorted(git.stored_days() & {*planned_days(), *planned_revisions()})
    for path, day in changed_files(stored).items():
        told = f"{path} is not as it was stored; bring it back with: git checkout {git.TAG}{day} -- {path}"
        found.append(Finding("bad", told))
    serving = Path("bundles") / history.current()
    if not serving.exists():
        found.append(
            Finding("bad", f"{serving} serves but is not here; bring it with: recprune fetch {history.current()}")
        )
    return found or [Finding("good", f"{checked} artefacts are as their manifests say")]
