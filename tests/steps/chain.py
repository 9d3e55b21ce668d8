"""A small workspace whose genesis learned a week, and the steps of its days."""

import shutil
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from recprune.daily.genesis import make_genesis
from recprune.data.events import read_events
from recprune.data.partition import About, write_partition
from recprune.data.sources.simulator import SimulatorSource
from recprune.data.sources.source import Source
from recprune.data.trial_rows import TrialRows
from recprune.files import write_json
from recprune.settings import Settings
from recprune.steps.evaluate import evaluate
from recprune.steps.export import export
from recprune.steps.featurize import featurize
from recprune.steps.prune import prune
from recprune.steps.train import train
from tests.makers import settings

GENESIS, FIRST, SECOND = "2024-01-07", "2024-01-08", "2024-01-09"
SIMULATOR = replace(settings().ingest.simulator, rows=1500, categorical=4, numeric=2, ids=60, informative=5)


def small(**sections: dict[str, Any]) -> Settings:
    """Return settings of a network that learns in a blink."""
    chosen: dict[str, dict[str, Any]] = {
        "ingest": {"source": "simulator", "simulator": SIMULATOR},
        "model": {"embedding": 4, "bottom": (8,), "top": (32, 16)},
        "train": {"threads": 1},
        "prune": {"min_neurons": 2, "min_inputs": 0.1, "budget": 0.3, "carve_days": 2, "probation": 1},
        "evaluate": {"batches": (1, 8), "repeats": 5},
    }
    return settings(**{name: chosen.get(name, {}) | sections.get(name, {}) for name in {*chosen, *sections}})


def make_template(folder: Path) -> None:
    """Write a workspace after genesis, its first day ready to be trained on."""
    folder.mkdir()
    with chdir(folder):
        chosen = small()
        make_genesis(chosen, SimulatorSource(chosen.ingest.simulator), FIRST, 7, lambda _done, _days: None)
        ingest_and_featurize(FIRST, GENESIS)


def copy_template(template: Path, workspace: Path) -> None:
    """Bring the template into a test's own folder."""
    shutil.copytree(template, workspace, dirs_exist_ok=True)


def ingest_and_featurize(day: str, parent: str, **simulator: Any) -> None:
    """Write a day's events and features, validation passed; the stream may be changed."""
    featurize_day(SimulatorSource(replace(SIMULATOR, **simulator)), day, parent)


def featurize_day(
    source: Source, day: str, parent: str, trial: TrialRows | None = None, chosen: Settings | None = None
) -> None:
    """Write the events and features of a day of a source, validation passed; a trial may have seen some of its rows."""
    found = read_events(source.read(date.fromisoformat(day)), source.schema(), date.fromisoformat(day), text=False)
    about = About(schema=source.schema(), source="simulator", trial=trial)
    write_partition(found, about, day, Path(f"data/events/{day}"), Path(f"data/rejected/{day}"))
    write_json(Path(f"reports/{day}/validation/verdict.json"), {"day": day, "verdict": "good", "sentence": "good"})
    featurize(
        chosen or small(), day=day, events=Path(f"data/events/{day}"), validation=Path(f"reports/{day}/validation"),
        parent_events=Path(f"data/events/{parent}"), parent_features=Path(f"data/features/{parent}"),
        parent_vocabulary=Path(f"vocab/{parent}"), vocabulary=Path(f"vocab/{day}"),
        features=Path(f"data/features/{day}"),
    )  # fmt: skip


def train_day(chosen: Settings, day: str = FIRST, parent: str = GENESIS, served: str | None = None) -> None:
    """Run the step train on the paths of dvc.yaml."""
    train(
        chosen, day=day, features=Path(f"data/features/{day}"), parent_features=Path(f"data/features/{parent}"),
        parent_model=Path(f"models/{parent}/pruned"), parent_vocabulary=Path(f"vocab/{parent}"),
        served_model=Path(f"models/{served or parent}/pruned"), served_vocabulary=Path(f"vocab/{served or parent}"),
        trained=Path(f"models/{day}/trained"), scores=Path(f"scores/{day}/next_day"),
    )  # fmt: skip


def prune_day(chosen: Settings, day: str = FIRST) -> None:
    """Run the step prune on the paths of dvc.yaml."""
    prune(
        chosen, day=day, trained=Path(f"models/{day}/trained"), features=Path(f"data/features/{day}"),
        scores=Path(f"scores/{day}/next_day"), pruned=Path(f"models/{day}/pruned"),
        report=Path(f"reports/{day}/prune.json"),
    )  # fmt: skip


def export_day(chosen: Settings, day: str = FIRST) -> None:
    """Run the step export on the paths of dvc.yaml."""
    export(
        chosen, day=day, pruned=Path(f"models/{day}/pruned"), vocabulary=Path(f"vocab/{day}"),
        features=Path(f"data/features/{day}"), events=Path(f"data/events/{day}"), bundle=Path(f"bundles/{day}"),
        measurements=Path(f"reports/{day}/export/measurements.json"),
    )  # fmt: skip


def evaluate_day(chosen: Settings, day: str = FIRST, parent: str = GENESIS, champion: str = GENESIS) -> None:
    """Run the step evaluate on the paths of dvc.yaml."""
    evaluate(
        chosen, day=day, champion_day=champion, bundle=Path(f"bundles/{day}"), champion=Path(f"bundles/{champion}"),
        events=Path(f"data/events/{day}"), features=Path(f"data/features/{day}"),
        next_day=Path(f"scores/{day}/next_day"),
        parent_pooled=Path(f"scores/{parent}/pooled"), report=Path(f"reports/{day}/evaluation.json"),
        measurements=Path(f"reports/{day}/measurements.json"), pooled=Path(f"scores/{day}/pooled"),
    )  # fmt: skip


def run_day(chosen: Settings, day: str = FIRST, parent: str = GENESIS, champion: str = GENESIS) -> None:
    """Run train, prune, export and evaluate."""
    train_day(chosen, day, parent)
    prune_day(chosen, day)
    export_day(chosen, day)
    evaluate_day(chosen, day, parent, champion)


def bytes_of(folders: Sequence[str]) -> dict[str, bytes]:
    """Return the content of every file under some folders."""
    return {str(f): f.read_bytes() for name in folders for f in sorted(Path(name).rglob("*")) if f.is_file()}
