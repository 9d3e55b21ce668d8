"""Genesis: the first day's parent, with everything that a day leaves behind, learned from history or fresh."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from recprune.daily.history_midway import FOLDER, HistoryCheckpoints, Learned
from recprune.data.events import DayOfEvents, read_events
from recprune.data.features import FeatureSet, encode, split_tail
from recprune.data.ids import Admission
from recprune.data.partition import About, Partition, open_partition, write_partition
from recprune.data.profile import measure
from recprune.data.schema import Schema
from recprune.data.sources.source import MissingDayError, Source
from recprune.data.vocabulary import Vocabulary
from recprune.days import add_days
from recprune.environment import code_digest
from recprune.errors import RecpruneError
from recprune.files import SCRATCH, artefact, manifest_digest, write_json
from recprune.gating.pool import Pool
from recprune.lowering.measured import measured_time
from recprune.model.checkpoint import save_lines
from recprune.model.device import environment_of
from recprune.model.line import Line, grow_rows, new_line
from recprune.model.shape import dense_shape, uniform_shape
from recprune.model.threads import use_threads
from recprune.pruning.budget import Budget, budget_for
from recprune.pruning.carving import carve_to_ramp
from recprune.pruning.control import Control, start_carving
from recprune.registry import history
from recprune.settings import PruneSettings, Settings
from recprune.steps.export import export
from recprune.steps.prune import tail_losses
from recprune.steps.train import day_seed
from recprune.steps.validate import save_profiles
from recprune.training.incremental import learn
from recprune.training.midway import train_facts
from recprune.workspace import delivered_path, plan_path

SETTLING = 4
"""Days of history that the first served line learns after its carving."""


def make_genesis(
    settings: Settings, source: Source, start: str, days: int, progress: Callable[[int, int], None]
) -> str:
    """Write the parent of the first day; returns its day, the one before `start`.

    Args:
        settings: of the workspace.
        source: where the history comes from.
        start: the first day that will be run.
        days: days of history to learn; 0 for a fresh start.
        progress: called with days learned and days in all.

    Raises:
        RecpruneError: the history has no events.
        SettingsError: this machine has not what `train.device` or `train.precision` asks for.
    """
    use_threads(settings.train.threads)
    schema, day = source.schema(), add_days(start, -1)
    measured, table = measured_time(settings.prune, schema)
    budget = budget_for(dense_shape(schema, settings.model), settings.prune, measured)
    dates = [add_days(start, n - days) for n in range(days)]
    kept = _checkpoints(settings, source, dates, table)
    learned = _learn_history(settings, source, dates, budget, kept, progress=progress)
    progress(days, max(days, 1))
    if days and "served" not in learned.lines:
        raise RecpruneError(
            f"the history of {days} days before {start} has no events to learn from in {source.name}; "
            "choose another --start, or --history 0 for a fresh start."
        )
    control = Control()
    if not days:
        learned.lines = _fresh_lines(schema, learned.vocabulary, budget, settings)
        control = start_carving(control, day, "the served line starts with uniform widths and fresh weights")
    _write(learned, control, schema, source.name, day, settings)
    return day


def _learn_history(
    settings: Settings,
    source: Source,
    days: list[str],
    budget: Budget,
    kept: HistoryCheckpoints,
    *,
    progress: Callable[[int, int], None],
) -> Learned:
    """Learn the days, or go on from where a killed genesis was."""
    learned = kept.restore(source.schema())
    if learned is None or not _is_as_read(learned, source, days, progress):
        learned = Learned(Vocabulary.empty(source.schema()))
    for n in range(len(learned.read), len(days)):
        progress(n, len(days))
        _learn_day(learned, source, days[n], len(days) - n, budget, settings)
        kept.keep(learned)
    return learned


def _checkpoints(settings: Settings, source: Source, days: list[str], costs: dict[str, Any]) -> HistoryCheckpoints:
    key = {
        "settings": {**asdict(settings), "train": train_facts(settings.train)},
        "source": [source.name, source.schema().to_json()],
        "days": days,
        "costs": costs,
        "threads, CPU class, GPU or libraries": _environment(settings),
        "code": code_digest(),
    }
    return HistoryCheckpoints(days[-1] if days else "", key, settings.train.checkpoint_minutes, print)


def _environment(settings: Settings) -> dict[str, Any]:
    """Return what the lines' bytes depend on; history is learned in one process."""
    return environment_of(replace(settings.train, processes=1))


def _is_as_read(learned: Learned, source: Source, days: list[str], progress: Callable[[int, int], None]) -> bool:
    """Read the learned days once more, the last one for what genesis leaves behind; say whether all are as before."""
    for n, digest in enumerate(learned.read):
        progress(n, len(days))
        found = _read(source, days[n])
        now = None if found is None else manifest_digest(_scratch_partition(found, source, days[n]).path)
        if now != digest:
            print(f"the events of {days[n]} are not what they were when they were learned; beginning anew")  # noqa: T201
            return False
        learned.last = found or learned.last
    return True


def _read(source: Source, day: str) -> DayOfEvents | None:
    """Return a day's events, None if there are none."""
    when = date.fromisoformat(day)
    try:
        found = read_events(source.read(when), source.schema(), when, text=source.text)
    except MissingDayError:
        return None
    return None if found.events.is_empty() else found


def _learn_day(learned: Learned, source: Source, day: str, left: int, budget: Budget, settings: Settings) -> None:
    """Learn one day of history; carve the served line in the last days before the settling ones."""
    schema, found = source.schema(), _read(source, day)
    if found is None:
        learned.read.append(None)
        return
    head = split_tail(found.events, settings.featurize.tail)[0] if left == 1 else found.events
    _profile(learned, _scratch_partition(found, source, day), settings)
    rule = Admission.of(settings.featurize.min_count, day, None)
    learned.vocabulary = learned.vocabulary.learn(head, rule)
    features = encode(head, schema, learned.vocabulary)
    sizes, seed = learned.vocabulary.sizes(), day_seed(settings.train.seed, day)
    if not learned.lines:
        learned.lines["dense"] = new_line(dense_shape(schema, settings.model), sizes, seed)
    for line in learned.lines.values():
        grow_rows(line, sizes, seed)
        for number in range(settings.train.history_passes):
            learn(line, features, settings.train, seed + number)
    _carve(learned, features, left, budget, settings.prune)
    learned.last = found


def _carve(learned: Learned, features: FeatureSet, left: int, budget: Budget, settings: PruneSettings) -> None:
    steps = max(1, settings.carve_days)
    done = steps + SETTLING - left + 1
    if done >= 1 and "served" not in learned.lines:
        learned.lines["served"] = learned.lines["dense"].copy()
    if "served" in learned.lines:
        served = learned.lines["served"]
        learned.lines["served"], _ = carve_to_ramp(served, features, min(done, steps), budget, settings)


def _profile(learned: Learned, partition: Partition, settings: Settings) -> None:
    learned.read.append(manifest_digest(partition.path))
    earlier = learned.profiles[-settings.validate.window :]
    learned.profiles.append(measure(partition, learned.vocabulary, earlier))
    learned.profiles = learned.profiles[-settings.validate.window :]


def _scratch_partition(found: DayOfEvents, source: Source, day: str) -> Partition:
    folder = SCRATCH / "genesis"
    about = About(schema=source.schema(), source=source.name)
    write_partition(found, about, day, folder / "events", folder / "rejected")
    return open_partition(folder / "events", day)


def _fresh_lines(schema: Schema, vocabulary: Vocabulary, budget: Budget, settings: Settings) -> dict[str, Line]:
    dense = dense_shape(schema, settings.model)
    served = uniform_shape(dense, lambda shape: budget.of(shape) <= budget.limit)
    lines = {"dense": new_line(dense, vocabulary.sizes(), settings.train.seed)}
    lines["served"] = new_line(served, vocabulary.sizes(), settings.train.seed)
    lines["challenger"] = lines["dense"].copy()
    return lines


def _write(learned: Learned, control: Control, schema: Schema, source: str, day: str, settings: Settings) -> None:
    """Write what a day leaves behind; the plan last, so that a genesis without one is not there."""
    found = learned.last or read_events((), schema, date.fromisoformat(day), text=False)
    kept = About(schema=schema, source=source)
    write_partition(found, kept, day, Path(f"data/events/{day}"), Path(f"data/rejected/{day}"))
    today = learned.profiles[-1] if learned.profiles else {"day": day}
    save_profiles(learned.profiles, settings.validate, Path(f"profiles/{day}"), day, today)
    learned.vocabulary.save(Path(f"vocab/{day}"), day)
    tail = _write_features(found.events, learned, schema, day, settings)
    about: dict[str, Any] = {
        "finite": True,
        "restarted": False,
        "new_line": True,
        "environment": _environment(settings),
    }
    losses = tail_losses(learned.lines, tail, settings.train.device)
    about |= {"control": control.to_json(), "tail_loss": losses}
    save_lines(Path(f"models/{day}/pruned"), day, learned.lines, about)
    Pool.empty().write(Path(f"scores/{day}/pooled"), day)
    export(
        settings,
        day=day,
        pruned=Path(f"models/{day}/pruned"),
        vocabulary=Path(f"vocab/{day}"),
        features=Path(f"data/features/{day}"),
        events=Path(f"data/events/{day}"),
        bundle=Path(f"bundles/{day}"),
        measurements=delivered_path(day),
    )
    shutil.rmtree(SCRATCH / "genesis", ignore_errors=True)
    if not any(entry.event == "genesis" for entry in history.read_history()):
        history.record("genesis", day, day, Path(f"bundles/{day}"), "genesis")
    write_json(plan_path(day), {"format": 1, "kind": "genesis", "day": day})
    shutil.rmtree(FOLDER, ignore_errors=True)


def _write_features(events: pl.DataFrame, learned: Learned, schema: Schema, day: str, settings: Settings) -> FeatureSet:
    head, tail = split_tail(events, settings.featurize.tail)
    sizes = learned.vocabulary.sizes()
    about: dict[str, Any] = {"schema": schema.to_json(), "parent_sizes": sizes, "sizes": sizes}
    about["tail_rows"] = tail.height
    held_back = encode(tail, schema, learned.vocabulary)
    with artefact(Path(f"data/features/{day}"), "features", day, about) as folder:
        encode(events, schema, learned.vocabulary).save(folder / "score")
        encode(head, schema, learned.vocabulary).save(folder / "learn")
        held_back.save(folder / "tail")
    return held_back
