"""Free the disk of old days: what nothing needs goes, if DVC's remote has every byte of it.

A revision is a day like any other: it is stored under a tag of its own, and goes and comes back by it.
"""

import re
import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recprune.daily.replay import open_replay
from recprune.days import add_days, in_order, number_of, plain_day
from recprune.errors import RecpruneError
from recprune.files import SCRATCH, size_of
from recprune.lock import hold
from recprune.registry.again import revision_for
from recprune.registry.history import champion_before, current, read_history
from recprune.registry.revisions import days_of
from recprune.registry.versions import at_hand
from recprune.versioning import dvc, git, objects
from recprune.versioning.objects import Stored
from recprune.versioning.pipeline import QUARANTINED_STAGES, STAGES, day_of, foreign_inputs, left_behind, outputs
from recprune.workspace import (
    days_before,
    genesis_day,
    is_quarantined,
    plan_path,
    planned_days,
    planned_revisions,
    read_plan,
)

_ASIDE = SCRATCH / "aside" / "collected"
_ARTEFACTS = ("data/*/*", "vocab/*", "profiles/*", "models/*/*", "scores/*/*", "bundles/*")
_RAN = re.compile(r"^cmd: recprune step \S+\s+--day\s+(\S+)")
"""Begins what DVC notes of a stage that ran."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What may go."""

    artefacts: tuple[str, ...]
    """Folders of the workspace."""
    cached: tuple[Path, ...]
    """Files of DVC's cache; those that list others come last."""
    notes: tuple[Path, ...]
    """Folders and files in which steps and DVC noted what they did on stored days, which no later day reads."""
    left: tuple[str, ...]
    """Why something that nothing needs stays all the same."""
    versions: tuple[str, ...]
    """Those that a rollback must find here; if they change meanwhile, no folder goes."""

    @property
    def days(self) -> list[str]:
        """The days and revisions that a folder goes of."""
        return sorted({day_of(path) for path in self.artefacts}, key=in_order)

    def sizes(self) -> tuple[int, int, int]:
        """Return the bytes of folders, of the cache that are no other name of the same file, and of the notes."""
        files = {file for path in self.artefacts for file in Path(path).rglob("*") if file.is_file()}
        told = {(s.st_dev, s.st_ino): s.st_size for s in (file.lstat() for file in files)}
        cached = {(s.st_dev, s.st_ino): s.st_size for s in (file.lstat() for file in self.cached)}
        others = sum(size for key, size in cached.items() if key not in told)
        return sum(told.values()), others, sum(size_of(path) or path.lstat().st_size for path in self.notes)


def survey(keep: int) -> Survey:
    """Find what may go; changes nothing.

    Kept are the newest stored days, with every revision of them; the last versions that served, as a rollback and a
    restart from them read them; the champion's day, the one's that serves again when a promotion by force ends, and
    the next day's parent, each with what it read of other days; what a day that is not stored yet reads; and what a
    replay that is open has written and still reads.

    Args:
        keep: calendar days, and versions; at least 1.

    Raises:
        RecpruneError: this is no workspace, or the remote is missing or does not answer.
    """
    genesis_day()  # raises outside a workspace
    stored = git.stored_days() & {*planned_days(), *planned_revisions()}
    dates = sorted({plain_day(day) for day in stored})[-keep:]
    newest = {day for day in stored if plain_day(day) in dates}
    cache, named = dvc.cache_folder(), _Named()
    needed = _needed(newest, stored, keep)
    days = sorted(_days_here() & (stored - newest), key=in_order)
    found, left = _found([path for day in days for path in _artefacts(day) if path not in needed], named, cache)
    missing = objects.not_in_remote({digest for each in found for digest in each.objects}) if found else {}
    safe = []
    for each in found:
        if wrong := sorted(each.objects & missing.keys()):
            copy = objects.place(cache, wrong[0])
            left.append(f"{each.path}: {missing[wrong[0]]}; copy {copy} there, under the same name, and give gc again")
        else:
            safe.append(each)
    going, notes = {digest for each in safe for digest in each.objects}, _scratch(stored - newest)
    if cache.resolve().is_relative_to(Path(".dvc").resolve()):
        going -= _in_use({path for path in needed if day_of(path) in stored}, named, cache)
        notes += _runs(cache, stored - newest)
    else:
        left.append(f"DVC's cache {cache} is not the workspace's own, and others may need what it has: it stays")
        going = set()
    cached = [path for digest in sorted(going, key=_lists_last) if (path := objects.place(cache, digest)).exists()]
    folders = tuple(each.path for each in safe if Path(each.path).exists())
    return Survey(folders, tuple(cached), tuple(notes), tuple(left), tuple(at_hand(keep)))


def collect(found: Survey, keep: int) -> None:
    """Let it go. Killed at any point, the same command goes on.

    First from the cache, so that the folder tells what is still to do; then the folders, each aside at once.

    Args:
        found: what `survey` found.
        keep: as given to it.

    Raises:
        RecpruneError: another version serves since the survey, and could be one that goes.
    """
    clear()
    for path in found.cached:
        path.unlink(missing_ok=True)
    for path in found.notes:
        _forget(path)
    with hold("registry", "recprune gc", wait=True):
        if tuple(at_hand(keep)) != found.versions:
            now = read_history()[-1].champion
            raise RecpruneError(f"{now} serves since gc began, so that other days are needed: give gc again.")
        _ASIDE.mkdir(parents=True, exist_ok=True)
        for name in found.artefacts:
            Path(name).rename(_ASIDE / name.replace("/", "_"))
            if Path(name).parent.name == day_of(name):  # models/DAY and scores/DAY hold several
                with suppress(OSError):
                    Path(name).parent.rmdir()
    clear()


def clear() -> None:
    """Remove what a collection that was killed had put aside."""
    shutil.rmtree(_ASIDE, ignore_errors=True)


def _forget(note: Path) -> None:
    """Remove a folder, or a file and the folders that it leaves empty."""
    if note.is_dir():
        shutil.rmtree(note)
        return
    note.unlink(missing_ok=True)
    with suppress(OSError):  # they hold more
        note.parent.rmdir()
        note.parent.parent.rmdir()


def _needed(newest: Collection[str], stored: Collection[str], keep: int) -> set[str]:
    """Return the paths that must stay."""
    whole = {*newest, *at_hand(1), _parent_of(add_days(planned_days()[-1], 1))}
    found = {path for day in whole for path in _artefacts(day)}
    begun = [day for day in planned_days()[-1:] if day not in stored]
    if replay := open_replay():
        days = days_of(replay, max(day for day in stored if number_of(day) == 1))
        found |= {path for day in days if day in stored for path in _artefacts(day)}
        left = [day for day in days if day not in stored]
        found |= _read_by_replay(left, stored)
        begun += [day for day in left if plan_path(day).exists()]
    for day in {*whole, *begun} - {genesis_day()}:
        found |= set(foreign_inputs(read_plan(day)))
    for version in at_hand(keep):
        served = foreign_inputs({"parent": "", "champion": version, "served": version})
        found |= {path for path in served if day_of(path) == version}
    return found


def _parent_of(day: str) -> str:
    """Return what a day that is to be planned will go on from."""
    return next((state.day for state in reversed(days_before(day)) if state.finite), genesis_day())


def _read_by_replay(left: Sequence[str], stored: Collection[str]) -> set[str]:
    """Return what days of an open replay, in order, will read of what is here; later ones also read earlier ones."""
    parent, found = _parent_of(left[0]) if left else "", set[str]()
    for day in left:
        told = revision_for(day, stored)
        champion = current() if told["final"] else champion_before(plain_day(day))
        found |= set(foreign_inputs({"parent": parent, "champion": champion, "served": parent, "revision": told}))
    return found


def _artefacts(day: str) -> list[str]:
    """Return where a stored day's artefacts lie."""
    if day == genesis_day():
        return left_behind(day)
    return outputs(day, QUARANTINED_STAGES if is_quarantined(day) else STAGES)


def _days_here() -> set[str]:
    """Return the days and revisions of which any artefact is here."""
    return {day_of(str(path)) for pattern in _ARTEFACTS for path in Path().glob(pattern) if path.is_dir()}


def _scratch(days: Collection[str]) -> list[Path]:
    """Return where steps of days kept what they would go on with after a kill: what was measured, and checkpoints."""
    return [folder for day in sorted(days, key=in_order) if (folder := SCRATCH / day).is_dir()]


def _runs(cache: Path, days: Collection[str]) -> list[Path]:
    """Return what DVC's run cache has of days: which outputs a stage gave, were it to run on the same once more.

    The tag of a stored day says the same in `dvc.lock`, and the run cache names objects that go with the day.
    """
    files = sorted(path for path in (cache / "runs").glob("*/*/*") if path.is_file())
    ran = {path: _RAN.search(path.read_text(encoding="utf-8", errors="replace")) for path in files}
    return [path for path, each in ran.items() if each and each[1] in days]


class _Named(dict[str, dict[str, str]]):
    """The digest of each artefact by day and path, as the days' tags name them; each tag is read once."""

    def __missing__(self, day: str) -> dict[str, str]:
        self[day] = objects.digests_at(day)
        return self[day]


def _found(paths: Iterable[str], named: _Named, cache: Path) -> tuple[list[Stored], list[str]]:
    """Return what each path consists of, and what is wrong with those that are not as they were stored."""
    found, left = [], []
    for path in paths:
        digest = named[day_of(path)].get(path, "")
        here = objects.of_folder(Path(path))
        if here is not None and here.digest != digest:
            left.append(f"{path} is not as it was stored; look at it, then: recprune fetch {day_of(path)}")
        elif (stored := here or objects.in_cache(path, digest, cache)) is not None:
            found.append(stored)
    return found, left


def _in_use(needed: Iterable[str], named: _Named, cache: Path) -> set[str]:
    """Return the objects of what stays, and of the day that is not stored yet; days may have some in common."""
    digests = {named[day_of(path)][path] for path in needed if path in named[day_of(path)]}
    found = set(digests | objects.now_in_lock_file())
    for digest in digests | objects.now_in_lock_file():
        stored = objects.in_cache("", digest, cache)
        found |= stored.objects if stored else set()
    return found


def _lists_last(digest: str) -> tuple[bool, str]:
    return digest.endswith(".dir"), digest
