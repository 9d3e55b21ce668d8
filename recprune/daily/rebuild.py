"""Rebuild a stored day from its tag, in a clone of the workspace, and compare every byte with what was stored."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recprune.daily.fetch import check_stored, fetch_missing
from recprune.daily.run import check_machine, reproduce
from recprune.daily.timed import Listener
from recprune.errors import RecpruneError, SettingsError
from recprune.files import MANIFEST, SCRATCH, read_json, sha256, understood, write_json
from recprune.lock import hold
from recprune.model.device import environment_of
from recprune.settings import Settings, read_settings
from recprune.steps import plan as planning
from recprune.steps.evaluate import latency_file
from recprune.steps.export import delivered_file
from recprune.steps.ingest import ingest
from recprune.versioning import dvc, git
from recprune.versioning.pipeline import QUARANTINED_STAGES, STAGES, day_of, foreign_inputs, outputs
from recprune.workspace import delivered_path, genesis_day, is_quarantined, read_plan, report_path

TOLERANCE = 0.001
"""Relative difference of an NE up to which another CPU class, thread count or library gives the same model."""
_MEASURED = "measurements.json"
"""What clocks said; never compared."""


@dataclass(frozen=True, slots=True)
class Compared:
    """An artefact as it was stored, beside the one that was rebuilt."""

    path: str
    files: int
    different: tuple[str, ...]
    """Its files that differ, are missing or new."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A stored day beside the same day, rebuilt."""

    day: str
    compared: tuple[Compared, ...]
    elsewhere: tuple[str, ...]
    """How this machine differs from the one that the day was made on, in what bytes depend on."""
    ne: Mapping[str, tuple[float, float]]
    """NE by rows and line, stored and rebuilt: next-day NE of what the day began with, NE on the tail of what it made.

    Empty of a quarantined day.
    """
    folder: Path
    """Where the stored and the rebuilt day lie, if they differ."""

    @property
    def first_difference(self) -> Compared | None:
        """The first artefact, in the order of the steps, that differs."""
        return next((each for each in self.compared if each.different), None)

    @property
    def same_data(self) -> bool:
        """Whether the source still delivers what it did."""
        return not any(each.different for each in self.compared if each.path.startswith("data/events/"))

    @property
    def good(self) -> bool:
        """Whether it is the same day: the same bytes; elsewhere the same data, and every NE within the tolerance."""
        if self.first_difference is None:
            return True
        near = all(abs(rebuilt - stored) <= TOLERANCE * stored for stored, rebuilt in self.ne.values())
        return bool(self.elsewhere) and self.same_data and near


def rebuild(day: str, listener: Listener) -> Rebuilt:
    """Rebuild a stored day from its tag in `scratch/replay/{day}`, and compare it with what was stored.

    Every step runs again, with the settings of then, on the artefacts of the days before; `ingest` reads the source
    again. Measured times are taken over, so that a verdict on latency is the one of then. Nothing of the workspace
    changes but what is fetched because it was not here.

    Raises:
        RecpruneError: the day is not stored, this machine lacks what it was learned with, or a step failed.
    """
    _check_stored(day)
    workspace, folder = Path.cwd(), SCRATCH / "replay" / day
    cache, remote = dvc.cache_folder(), dvc.remote_folder()
    with hold("replay", f"recprune replay {day} --verify", wait=False) as handle:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        clone, stored = (folder / "rebuilt").resolve(), (folder / "stored").resolve()
        git.clone(clone, f"{git.TAG}{day}")
        with chdir(clone):
            settings, plan = read_settings(Path()), read_plan(day)
            _check_machine(day, settings)
            stages = QUARANTINED_STAGES if is_quarantined(day) else STAGES
            paths = [*outputs(day, stages), *outputs(day, stages, cached=False)]
            dvc.use_cache(cache, remote)
            _take_over(plan, workspace, stages)
            _set_aside(paths, stored)
            _take_measured(day, plan, settings, stored)
        fetch_missing([path for path in foreign_inputs(plan) if path.startswith("data/")], listener.say)
        listener.step("ingest")
        ingest(settings, day=day, events=clone / f"data/events/{day}", rejected=clone / f"data/rejected/{day}")
        with chdir(clone):
            _repro(day, stages, stored, handle, listener)
            found = Rebuilt(
                day,
                tuple(_compare(path, stored) for path in paths if not path.endswith(_MEASURED)),
                _elsewhere(settings, day, stored),
                _ne(day, stored),
                folder,
            )
        if found.first_difference is None:
            shutil.rmtree(folder)
        return found


def _check_machine(day: str, settings: Settings) -> None:
    try:
        check_machine(settings.train)
    except SettingsError as error:
        raise RecpruneError(
            f"{day} cannot be rebuilt on this machine: its settings, which are those of then, ask for what is not here "
            f"({str(error).partition('. Write ')[0]}). Verify it on a machine like the one that made it."
        ) from None


def _check_stored(day: str) -> None:
    if day == genesis_day():
        raise RecpruneError(
            f"{day} is genesis, which recprune init made and no step; the days after it can be rebuilt."
        )
    check_stored(day)


def _take_over(plan: dict[str, Any], workspace: Path, stages: Sequence[str]) -> None:
    """Bring what the day wrote, and what it read of other days, into the clone (the current directory)."""
    dvc.dvc("pull", "--quiet", *stages)
    for path in foreign_inputs(plan):
        if not Path(path).exists():
            dvc.get(path, f"{git.TAG}{day_of(path)}", repository=workspace)
    planning.restore_day(plan)
    planning.check_digests(plan)


def _set_aside(paths: Sequence[str], stored: Path) -> None:
    for path in paths:
        (stored / path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).rename(stored / path)


def _take_measured(day: str, plan: dict[str, Any], settings: Settings, stored: Path) -> None:
    """Put what was measured where a resumed step looks for it: it counts if the bundle is the same again."""
    bundle, champion = stored / "bundles" / day, Path("bundles") / plan["champion"]
    if bundle.exists():
        delivered = read_json(stored / delivered_path(day))
        write_json(delivered_file(bundle), {k: v for k, v in delivered.items() if k not in ("day", "ways")})
        latency = read_json(stored / report_path(day, "measurements"))
        write_json(latency_file(day, bundle, champion, settings.evaluate), latency)


def _repro(day: str, stages: Sequence[str], stored: Path, handle: int, listener: Listener) -> None:
    """Run the steps after `ingest`, on the data that were stored if the source now delivers others."""
    events = f"data/events/{day}"
    if _compare(events, stored).different:
        listener.say(
            f"{day}: the source does not deliver what it delivered then; the other steps run on the stored rows."
        )
        Path(events).rename(f"{events}.delivered-now")
        shutil.copytree(stored / events, events, copy_function=os.link)
    steps = ["--single-item", "validate"] if stages == QUARANTINED_STAGES else ["--downstream", "validate"]
    reproduce(day, ["--force", "--no-commit", "--no-run-cache", *steps], handle, listener)
    if (now := Path(f"{events}.delivered-now")).exists():
        shutil.rmtree(events)
        now.rename(events)


def _compare(path: str, stored: Path) -> Compared:
    theirs, ours = _digests(stored / path), _digests(Path(path))
    different = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
    return Compared(path, len(theirs), tuple(different))


def _digests(path: Path) -> dict[str, str]:
    """Return the digest of a file, or of each file of a folder, by its name there."""
    if path.is_file():
        return {path.name: sha256(path)}
    return {str(file.relative_to(path)): sha256(file) for file in sorted(path.rglob("*")) if file.is_file()}


def _elsewhere(settings: Settings, day: str, stored: Path) -> tuple[str, ...]:
    """Say in what this machine differs from the one that the day was made on."""
    manifest = stored / "bundles" / day / MANIFEST
    if not manifest.exists():
        return ()
    then, now = read_json(manifest), environment_of(settings.train)
    with understood(manifest):
        then = then["environment"]
        facts = [(name, then[name], now[name]) for name in ("cpu", "threads")]
        usually = {"device": "cpu", "processes": 1, "bfloat16": "none"}
        facts += [(name, then.get(name, usual), now.get(name, usual)) for name, usual in usually.items()]
        told = [f"{name} {old} then, {new} now" for name, old, new in facts if old != new]
        names = sorted(then["libraries"].keys() | now["libraries"].keys())
        pairs = [(name, then["libraries"].get(name, "none"), now["libraries"].get(name, "none")) for name in names]
    return (*told, *(f"{name} {old} then, {new} now" for name, old, new in pairs if old != new))


def _ne(day: str, stored: Path) -> dict[str, tuple[float, float]]:
    path = report_path(day, "evaluation")
    if not (stored / path).exists():
        return {}
    then, now = read_json(stored / path), read_json(path)
    return {
        f"{rows} of {name}": (float(value), float(now[rows]["ne"][name]))
        for rows in ("next_day", "tail")
        for name, value in then[rows]["ne"].items()
        if value is not None
    }
