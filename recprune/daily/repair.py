"""Repair what is safe: what is stored comes back, what a kill left goes; nothing is deleted that has no other copy."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recprune.errors import RecpruneError
from recprune.files import MANIFEST, SCRATCH, open_artefact, read_json
from recprune.lock import FOLDER as LOCKS
from recprune.lock import is_held
from recprune.registry import history
from recprune.versioning import dvc, git
from recprune.versioning.pipeline import day_of
from recprune.workspace import PLANS, REPORTS, command_for, planned_days, planned_revisions

DAMAGED = SCRATCH / "damaged"
"""Where what was replaced lies until somebody looks at it."""
_ARTEFACTS = ("data/*/*", "vocab/*", "profiles/*", "models/*/*", "scores/*/*", "bundles/*")


def damaged_artefacts() -> tuple[int, dict[Path, str]]:
    """Check every artefact here against its manifest; return how many there are, and why of those that are damaged."""
    folders = [path for pattern in _ARTEFACTS for path in sorted(Path().glob(pattern)) if path.is_dir()]
    folders = [path for path in folders if day_of(str(path))]
    found = {}
    for folder in folders:
        try:
            about: Any = read_json(folder / MANIFEST)
            kind = about.get("kind") if isinstance(about, dict) else None
            open_artefact(folder, str(kind), day_of(str(folder)))
        except (RecpruneError, OSError) as error:
            found[folder] = str(error)
    return len(folders), found


def changed_files(stored: Sequence[str]) -> dict[Path, str]:
    """Return the plans and reports of stored days that are not as they were stored, and the day of each.

    Each is compared with its day's tag: what was edited while a later day ran was committed with that one, so that the
    last commit need not have it as it was stored. Where that commit has it so, one call of git tells of all days.
    """
    if not stored:
        return {}
    places = {place: day for day in stored for place in (f"{PLANS}/{day}.json", f"{REPORTS}/{day}")}
    same = git.same_as_last_commit({place: f"{git.TAG}{day}" for place, day in places.items()})
    edited: dict[str, list[str]] = {}
    for name in git.differing("HEAD", str(PLANS), str(REPORTS)):
        edited.setdefault("/".join(Path(name).parts[:2]), []).append(name)
    found: dict[Path, str] = {}
    for place, day in places.items():
        names = edited.get(place, []) if place in same else git.differing(f"{git.TAG}{day}", place)
        found |= {Path(name): day for name in names if name.endswith(".json")}
    return found


def pointer_is_behind() -> bool:
    """Say whether the pointer is not what the history's last entry says, or cannot be read."""
    entries = history.read_history()
    try:
        told: Any = read_json(history.CURRENT)
        return bool(entries) and (told["champion"], told["digest"]) != (entries[-1].champion, entries[-1].bundle)
    except (RecpruneError, KeyError, TypeError):
        return bool(entries)


def left_behind_by_kills() -> list[Path]:
    """Return what was being written when its process ended; locks need nothing, for they end with their process.

    While parts of a step are at work, the pieces that are being written are theirs.
    """
    parts_work = any(is_held(lock) for lock in LOCKS.glob("*-of-*.lock"))
    found = sorted((SCRATCH / "aside").glob("*"))
    return [path for path in found if not (parts_work and path.name.startswith(f"{SCRATCH}_"))]


def repair() -> Iterator[str]:
    """Repair what is safe, and say of each thing what was done, or why nothing was."""
    stored = sorted(git.stored_days())
    yield from _pointer()
    for path in left_behind_by_kills():
        _forget(path)
        yield f"{path}: removed; a process that has ended left it"
    known = {*planned_days(), *planned_revisions()}
    for path, day in changed_files([day for day in stored if day in known]).items():
        yield _report(path, day)
    for path, why in damaged_artefacts()[1].items():
        yield _artefact(path, why, stored)
    champion = Path("bundles") / history.current()
    if not champion.exists():
        yield _artefact(champion, f"{champion} serves but is not here", stored)


def _pointer() -> Iterator[str]:
    if pointer_is_behind():
        history.follow()
        yield f"{history.CURRENT}: written again from {history.HISTORY}; {history.current()} serves"


def _report(path: Path, day: str) -> str:
    """Bring a plan or report back from the day's tag, or take it away if the tag has none."""
    _keep(path)
    if not git.git("ls-tree", "--name-only", f"{git.TAG}{day}", "--", str(path)):
        return f"{path}: taken away, for {day} was stored without it{_kept(path)}"
    git.restore(path, f"{git.TAG}{day}")
    return f"{path}: brought back from git as it was stored{_kept(path)}"


def _artefact(path: Path, why: str, stored: Sequence[str]) -> str:
    """Replace an artefact by the stored one, if there is one that is whole."""
    day = day_of(str(path))
    if day not in stored:
        again = command_for(day)
        return f"{path}: left as it is, for {day} is not stored and there is no other; run it: {again} ({why})"
    aside = SCRATCH / "aside" / f"{str(path).replace('/', '_')}.repair"
    _forget(aside)
    try:
        aside.parent.mkdir(parents=True, exist_ok=True)
        dvc.dvc("get", ".", str(path), "--rev", f"{git.TAG}{day}", "--out", str(aside))
        about: Any = read_json(aside / MANIFEST)
        open_artefact(aside, str(about["kind"]), day)
    except (RecpruneError, OSError, KeyError, TypeError) as error:
        _forget(aside)
        return f"{path}: left as it is, for the stored one cannot be had whole ({error})"
    _keep(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside.rename(path)
    return f"{path}: replaced by the stored one{_kept(path)}"


def _keep(path: Path) -> None:
    """Move what is replaced where it can be looked at."""
    if path.exists() or path.is_symlink():
        to = DAMAGED / path
        _forget(to)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)


def _kept(path: Path) -> str:
    return f"; what was there lies in {DAMAGED / path}" if (DAMAGED / path).exists() else ""


def _forget(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
