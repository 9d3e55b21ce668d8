"""Days of a workspace run in one process: the commands of dvc.yaml, without DVC, git and Airflow.

A branch is a workspace of its own that shares (by hard links) what the day before left behind.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from recprune.cli.step import app
from recprune.daily.genesis import make_genesis
from recprune.data.events import read_events
from recprune.data.partition import About, write_partition
from recprune.data.schema import Schema
from recprune.data.sources.source import MissingDayError, RawBatch, Source
from recprune.days import add_days
from recprune.files import read_json
from recprune.lowering import timed
from recprune.metrics.scores import normalized_entropy
from recprune.settings import Settings, read_settings
from recprune.workspace import plan_path

timed.SECONDS = 0.002
"""Times of calls are measured and told, and no rule that is asked here reads them."""
ROOT = Path(__file__).parents[1]
LINKED = ("data/events", "data/features", "vocab", "profiles", "models", "bundles", "scores")


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a day goes on from."""

    parent: str
    champion: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a day ended, and what the models scored on it before they learned it."""

    day: str
    sentence: str
    verdict: str
    counts: dict[str, int]
    events: str
    """Digest of the accepted events."""
    ne: dict[str, float | None]


class Kept:
    """A source whose days are read once and kept in memory; the benchmark reads each of them a hundred times."""

    def __init__(self, source: Source) -> None:
        self.name, self.text, self.note = source.name, source.text, source.note
        self._source, self._days = source, dict[date, list[RawBatch]]()

    def schema(self) -> Schema:
        """Return what the rows mean."""
        return self._source.schema()

    def span(self) -> tuple[date, date | None]:
        """Return the first and the last day."""
        return self._source.span()

    def read(self, day: date) -> Iterator[RawBatch]:
        """Yield the day's rows."""
        if day not in self._days:
            self._days[day] = list(self._source.read(day))
        yield from self._days[day]


def prepare(folder: Path, source: str, seed: int | None) -> Settings:
    """Write the settings of a workspace: what only takes time, and what only the clock decides, is left out."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    raw["ingest"]["source"] = source
    raw["ingest"]["simulator"]["seed"] = seed or raw["ingest"]["simulator"]["seed"]
    raw["export"] |= {"precision": "fp32", "batches": [1]}
    raw["evaluate"] |= {"batches": [1], "repeats": 1}
    raw["gate"]["skip"] = ["latency", "sparse"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return read_settings(folder)


def genesis(folder: Path, source: Source, start: str, history: int) -> Lineage:
    """Learn the history before the first day."""
    day = add_days(start, -1)
    if not (folder / plan_path(day)).exists():
        _make_genesis(folder, source, start, history)
    return Lineage(day, day)


def _make_genesis(folder: Path, source: Source, start: str, history: int) -> None:
    with chdir(folder):
        make_genesis(read_settings(Path()), source, start, history, lambda _done, _days: None)


def branch(base: Path, folder: Path, lineage: Lineage) -> None:
    """Make a workspace that goes on from a day of another one."""
    folder.mkdir(parents=True)
    shutil.copy(base / "params.yaml", folder)
    for kind in LINKED:
        for day in {lineage.parent, lineage.champion}:
            if (base / kind / day).is_dir():
                shutil.copytree(base / kind / day, folder / kind / day, copy_function=os.link)


def validated(folder: Path, source: Source, day: str, lineage: Lineage) -> Ended:
    """Ingest and validate a day."""
    with chdir(folder):
        _ingest(source, day)
        _stage("validate", day, lineage)
        found = read_json(Path(f"reports/{day}/validation/verdict.json"))
        digest = _digest(Path(f"data/events/{day}/events.parquet"))
    verdict = "quarantined" if found["verdict"] == "quarantined" else "good"
    return Ended(day, found["sentence"], verdict, found["counts"], digest, {})


def finished(folder: Path, ended: Ended, lineage: Lineage) -> Ended:
    """Take a good day through its other steps: train, prune, export, evaluate, gate."""
    day = ended.day
    with chdir(folder):
        for stage in ("featurize", "train", "prune", "export", "evaluate", "gate"):
            _stage(stage, day, lineage)
        gate, scored = (read_json(Path(f"reports/{day}/{name}.json")) for name in ("gate", "evaluation"))
    return replace(ended, verdict=gate["verdict"], sentence=gate["sentence"], ne=scored["next_day"]["ne"])


def scored(folder: Path, ended: Ended, lineage: Lineage) -> Ended:
    """Score a good day with every line, and let the lines learn it; nothing is exported, nothing promoted."""
    day = ended.day
    with chdir(folder):
        for stage in ("featurize", "train", "prune"):
            _stage(stage, day, lineage)
        rows = pl.read_parquet(f"scores/{day}/next_day/scores.parquet")
    label = rows["label"].to_numpy().astype(np.float64)
    lines = [c for c in rows.columns if c.startswith("p_")]
    ne = {c.removeprefix("p_"): normalized_entropy(label, rows[c].to_numpy().astype(np.float64)) for c in lines}
    return replace(ended, ne=ne)


def loaded(folder: Path, day: str) -> Ended | None:
    """Return a day that an earlier run of the benchmark finished; None if it did not."""
    if not (folder / f"reports/{day}/gate.json").exists():
        return None
    with chdir(folder):
        gate, evaluation = (read_json(Path(f"reports/{day}/{name}.json")) for name in ("gate", "evaluation"))
        counts = read_json(Path(f"reports/{day}/validation/verdict.json"))["counts"]
        digest = _digest(Path(f"data/events/{day}/events.parquet"))
    return Ended(day, gate["sentence"], gate["verdict"], counts, digest, evaluation["next_day"]["ne"])


def after(ended: Ended, lineage: Lineage) -> Lineage:
    """Return what the next day goes on from."""
    if ended.verdict == "quarantined":
        return lineage
    return Lineage(ended.day, ended.day if ended.verdict == "passed" else lineage.champion)


def _ingest(source: Source, day: str) -> None:
    missing: list[str] = []
    when, schema = date.fromisoformat(day), source.schema()
    found = read_events(_delivered(source, when, missing), schema, when, text=source.text)
    found.problems.extend(missing)
    write_partition(
        found, About(schema=schema, source=source.name), day, Path(f"data/events/{day}"), Path(f"data/rejected/{day}")
    )


def _delivered(source: Source, when: date, missing: list[str]) -> Iterator[RawBatch]:
    try:
        yield from source.read(when)
    except MissingDayError as error:
        missing.append(str(error))


def _stage(name: str, day: str, lineage: Lineage) -> None:
    """Run the command that dvc.yaml has for a stage."""
    names = {"day": day, "parent": lineage.parent, "served": lineage.parent, "champion": lineage.champion}
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    command = re.sub(r"\$\{(\w+)\}", lambda found: names[found[1]], stages[name]["cmd"])
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        app(shlex.split(command)[2:], standalone_mode=False)


def _digest(path: Path) -> str:
    return str(pl.read_parquet(path).drop("row_hash").hash_rows(seed=1).implode().hash(seed=1)[0])
