"""Bring a stored day's artefacts into place, by its tag, from DVC's cache or remote."""

from collections.abc import Callable, Sequence
from pathlib import Path

from recprune.errors import RecpruneError
from recprune.versioning import dvc, git
from recprune.versioning.pipeline import QUARANTINED_STAGES, STAGES, day_of, foreign_inputs, left_behind, outputs
from recprune.workspace import genesis_day, is_quarantined, read_plan


def check_stored(day: str) -> None:
    """Raise if a day is not stored."""
    if day not in git.stored_days():
        listed = ", ".join(sorted(git.stored_days())[-5:]) or "none"
        raise RecpruneError(f"{day} is not stored (no tag {git.TAG}{day}); the last stored days: {listed}")


def fetch_day(day: str, say: Callable[[str], None]) -> list[str]:
    """Replace every artefact of a day by the stored one; returns the paths.

    Raises:
        RecpruneError: the day is not stored.
    """
    genesis_day()  # raises outside a workspace
    check_stored(day)
    if read_plan(day)["kind"] == "genesis":
        paths = left_behind(day)
    else:
        paths = outputs(day, QUARANTINED_STAGES if is_quarantined(day) else STAGES)
    fetch_paths(paths, say)
    return paths


def fetch_inputs(day: str, say: Callable[[str], None]) -> list[str]:
    """Bring what a stored day read of other days into place, where it is not; returns the paths.

    In a clone at the day's tag nothing else is missing for `dvc repro` and `dvc exp run`.

    Raises:
        RecpruneError: the day is not stored, or is genesis, which read nothing.
    """
    if day == genesis_day():
        raise RecpruneError(f"{day} is genesis, which read nothing of other days; give a day after it.")
    check_stored(day)
    paths = foreign_inputs(read_plan(day))
    fetch_missing(paths, say)
    return paths


def fetch_paths(paths: Sequence[str], say: Callable[[str], None]) -> None:
    """Bring paths into place, each from its own day's tag."""
    for path in paths:
        say(f"fetching {path}")
        dvc.get(path, f"{git.TAG}{day_of(path)}")


def fetch_missing(paths: Sequence[str], say: Callable[[str], None]) -> None:
    """Bring those paths that are not here."""
    fetch_paths([path for path in paths if not Path(path).exists()], say)
