"""Free the disk of old days: what nothing needs goes, if DVC's remote has every byte of it."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recprune.errors import RecpruneError
from recprune.files import SCRATCH
from recprune.lock import hold
from recprune.registry.history import read_history
from recprune.registry.versions import at_hand
from recprune.versioning import dvc, git, objects
from recprune.versioning.objects import Stored
from recprune.versioning.pipeline import QUARANTINED_STAGES, STAGES, day_of, foreign_inputs, left_behind, outputs
from recprune.workspace import days_with_verdict, genesis_day, is_quarantined, planned_days, read_plan

_ASIDE = SCRATCH / "aside" / "collected"
_ARTEFACTS = ("data/*/*", "vocab/*", "profiles/*", "models/*/*", "scores/*/*", "bundles/*")


@dataclass(frozen=True, slots=True)
class Survey:
    """What may go."""

    artefacts: tuple[str, ...]
    """Folders of the workspace."""
    cached: tuple[Path, ...]
    """Files of DVC's cache; those that list others come last."""
    left: tuple[str, ...]
    """Why something that nothing needs stays all the same."""
    versions: tuple[str, ...]
    """Those that a rollback must find here; if they change meanwhile, no folder goes."""

    @property
    def days(self) -> list[str]:
        """The days that a folder goes of."""
        return sorted({day_of(path) for path in self.artefacts})

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of the folders, and those of the cache that are no other name of the same file."""
        files = {file for path in self.artefacts for file in Path(path).rglob("*") if file.is_file()}
        told = {(s.st_dev, s.st_ino): s.st_size for s in (file.lstat() for file in files)}
        cached = {(s.st_dev, s.st_ino): s.st_size for s in (file.lstat() for file in self.cached)}
        return sum(told.values()), sum(size for key, size in cached.items() if key not in told)


def survey(keep: int) -> Survey:
    """Find what may go; changes nothing.

    Kept are the newest stored days; the last versions that served, as a rollback and a restart from them read them;
    the champion's day, the one's that serves again when a promotion by force ends, and the next day's parent, each
    with what it read of other days; and what a day that is not stored yet reads.

    Args:
        keep: days, and versions; at least 1.

    Raises:
        RecpruneError: this is no workspace, or the remote is missing or does not answer.
    """
    genesis_day()  # raises outside a workspace
    stored = git.stored_days() & set(planned_days())
    newest, cache, named = set(sorted(stored)[-keep:]), dvc.cache_folder(), _Named()
    needed = _needed(newest, keep)
    old = [path for day in _days_here() if day in stored - newest for path in _artefacts(day) if path not in needed]
    found, left = _found(old, named, cache)
    missing = objects.not_in_remote({digest for each in found for digest in each.objects}) if found else {}
    safe = []
    for each in found:
        if wrong := sorted(each.objects & missing.keys()):
            copy = objects.place(cache, wrong[0])
            left.append(f"{each.path}: {missing[wrong[0]]}; copy {copy} there, under the same name, and give gc again")
        else:
            safe.append(each)
    going = {digest for each in safe for digest in each.objects}
    if cache.resolve().is_relative_to(Path(".dvc").resolve()):
        going -= _in_use({path for path in needed if day_of(path) in stored}, named, cache)
    else:
        left.append(f"DVC's cache {cache} is not the workspace's own, and others may need what it has: it stays")
        going = set()
    cached = [path for digest in sorted(going, key=_lists_last) if (path := objects.place(cache, digest)).exists()]
    folders = tuple(each.path for each in safe if Path(each.path).exists())
    return Survey(folders, tuple(cached), tuple(left), tuple(at_hand(keep)))


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


def _needed(newest: Iterable[str], keep: int) -> set[str]:
    """Return the paths that must stay."""
    whole, versions = set(newest), at_hand(keep)
    whole |= {*at_hand(1), *([s.day for s in days_with_verdict() if s.finite][-1:] or [genesis_day()])}
    open_days = [day for day in planned_days()[-1:] if day not in git.stored_days()]
    found = {path for day in whole for path in _artefacts(day)}
    for day in {*whole, *open_days} - {genesis_day()}:
        found |= set(foreign_inputs(read_plan(day)))
    for version in versions:
        served = foreign_inputs({"parent": "", "champion": version, "served": version})
        found |= {path for path in served if day_of(path) == version}
    return found


def _artefacts(day: str) -> list[str]:
    """Return where a stored day's artefacts lie."""
    if day == genesis_day():
        return left_behind(day)
    return outputs(day, QUARANTINED_STAGES if is_quarantined(day) else STAGES)


def _days_here() -> list[str]:
    """Return the days of which any artefact is here."""
    found = {day_of(str(path)) for pattern in _ARTEFACTS for path in Path().glob(pattern) if path.is_dir()}
    return sorted(found & set(planned_days()))


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
