"""A workspace with a large vocabulary: two days of events in Criteo's layout, through recprune's own steps.

Ids by a Zipf law over tables of Criteo Kaggle's sizes, cut so that all together have as many rows as asked; the first
day has every id once. Ingest, featurize and export are the commands of `dvc.yaml`; a network learns a part of a day
only, and what it scored on the next one is drawn.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from benchmarks.ladder.networks import CARDINALITIES, NUMBERS, WIDTH, ZIPF, networks
from benchmarks.ladder.table import measure, work
from recprune.data.features import FeatureSet
from recprune.data.schema import Schema
from recprune.environment import environment
from recprune.files import artefact, open_artefact, write_json
from recprune.gating.pool import Pool
from recprune.model.checkpoint import save_lines
from recprune.model.line import Line, grow_rows, new_line
from recprune.model.shape import dense_shape
from recprune.model.threads import use_threads
from recprune.pruning.budget import budget_for
from recprune.pruning.carving import carve
from recprune.settings import read_settings
from recprune.training.incremental import learn

GENESIS, FIRST, DAY = "2023-12-31", "2024-01-01", "2024-01-02"
MODELS: dict[str, dict[str, Any]] = {
    "dlrm": {"family": "dlrm", "bottom": [512, 256, 64], "top": [512, 256]},
    "wide&deep": {"family": "deepfm", "bottom": [], "top": [1024, 512, 256]},
}
"""As settings; what their inputs are, the networks that training is measured on say."""
LEARNED = 60_000
"""Rows that a network learns: enough that its layers' inputs have the ranges of a trained one."""


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace, and its day."""

    folder: Path
    names: dict[str, str]
    """What `dvc.yaml` calls the day and those before it."""

    def command(self, step: str) -> list[str]:
        """Return the command that `dvc.yaml` has for a step of the day."""
        told = yaml.safe_load((self.folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"][step]["cmd"]
        for name, day in self.names.items():
            told = told.replace(f"${{{name}}}", day)
        return [sys.executable, "-m", *shlex.split(told)]

    def run(self, step: str) -> None:
        """Do a step."""
        done = subprocess.run(self.command(step), cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{step}: {done.stderr}")


def sizes(rows: int) -> tuple[int, ...]:
    """Return the tables' rows: the largest ones are cut until all together have no more than asked."""
    low, high = 1, max(CARDINALITIES)
    while low < high:
        most = (low + high + 1) // 2
        low, high = (most, high) if sum(min(n, most) for n in CARDINALITIES) <= rows else (low, most - 1)
    return tuple(min(n, low) for n in CARDINALITIES)


def make_events(folder: Path, vocabulary: int, rows: int) -> Place:
    """Make the workspace: the days' events and features; the first day has all ids, the second one some new ones."""
    tables = sizes(vocabulary)
    _write(folder / "day_1.tsv", tables, max(*tables, rows // 8), every=True)
    _write(folder / "day_2.tsv", [n + n // 50 for n in tables], rows, every=False)
    place = folder / "workspace"
    place.mkdir()
    told = yaml.safe_load((files("recprune") / "templates/params.yaml.template").read_text(encoding="utf-8"))
    told["ingest"] |= {"source": "criteo", "criteo": {"path": str(folder / "day_*.tsv"), "first_day": FIRST}}
    told["featurize"]["min_count"] = 1
    _settle(place, told)
    command = [sys.executable, "-m", "recprune", "init", str(place), "--start", FIRST]
    subprocess.run(command, check=True, capture_output=True)
    for day, parent in ((FIRST, GENESIS), (DAY, FIRST)):
        here = _place(place, day, parent)
        here.run("ingest")
        write_json(place / f"reports/{day}/validation/verdict.json", {"day": day, "verdict": "good", "sentence": ""})
        here.run("featurize")
    return here


def _place(folder: Path, day: str, parent: str) -> Place:
    return Place(folder, {"day": day, "parent": parent, "champion": parent, "served": parent})


def _settle(place: Path, told: dict[str, Any]) -> None:
    (place / "params.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")


def _write(file: Path, tables: Sequence[int], rows: int, *, every: bool) -> None:
    """Write rows in Criteo's layout; their labels follow from an effect of each id and of each number."""
    draw = np.random.default_rng(rows)
    numbers = draw.lognormal(1.0, 1.5, (rows, NUMBERS)).astype(np.int64)
    logit = np.full(rows, -1.5) + np.log1p(numbers) @ np.random.default_rng(3).normal(0, 0.1, NUMBERS)
    there = draw.random((rows, NUMBERS)) > 0.2
    columns = {f"i{i}": pl.Series(numbers[:, i]).set(pl.Series(~there[:, i]), None) for i in range(NUMBERS)}
    for i, size in enumerate(tables):
        ids = _drawn(draw, size, rows, every=every)
        logit += (_hashed(ids, 31 * i + 7) / 2**31 - 1) * 0.35
        columns[f"c{i}"] = pl.Series([f"{n:08x}" for n in _hashed(np.arange(size), i).tolist()]).gather(ids)
    label = (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    pl.DataFrame({"label": label, **columns}).write_csv(file, separator="\t", include_header=False)


def _drawn(draw: np.random.Generator, size: int, rows: int, *, every: bool) -> NDArray[np.int64]:
    share = np.cumsum(np.arange(1, size + 1) ** -ZIPF)
    found = np.searchsorted(share, draw.random(rows) * share[-1])
    if every:
        found[:size] = np.arange(size)
        draw.shuffle(found)
    return found


def _hashed(ids: NDArray[np.int64], salt: int) -> NDArray[np.int64]:
    """Return other numbers of 32 bits, of each id another one."""
    return ((ids + salt) * 0x9E3779B1) % 2**32


def make_model(place: Place, name: str) -> None:
    """Put a network that learned, and a pruned one, in the workspace, and the first day's bundle as champion."""
    told = yaml.safe_load((place.folder / "params.yaml").read_text(encoding="utf-8"))
    told["model"] |= {**MODELS[name], "embedding": WIDTH}
    _settle(place.folder, told)
    measure(__spec__.name, "lines", str(place.folder))
    _place(place.folder, FIRST, GENESIS).run("export")


def lines(folder: str) -> None:
    """Write the lines of both days, and what they scored."""
    os.chdir(folder)
    settings = read_settings(Path())
    use_threads(settings.train.threads)
    pruning, made = settings.prune, dict[str, Line]()
    for number, day in enumerate((FIRST, DAY)):
        about = open_artefact(Path("data/features", day), "features", day)
        events, schema = FeatureSet.load(Path("data/features", day, "learn")), Schema.from_json(about["schema"])
        some = events.rows(slice(0, LEARNED))
        if not made:
            shape = dense_shape(schema, settings.model)
            network = next(n for n in networks(1).values() if n.shape.family == shape.family)
            made["dense"] = new_line(replace(shape, inputs=network.shape.inputs), about["sizes"], 1)
            learn(made["dense"], some, settings.train, 1)
            budget = budget_for(made["dense"].shape, pruning, None)
            made["served"], _ = carve(made["dense"], some, budget.share, budget, pruning)
        for line in made.values():
            grow_rows(line, about["sizes"], number)
            if number:
                learn(line, some, settings.train, 2)
        state = {"finite": True, "new_line": False, "environment": environment(settings.train.threads)}
        save_lines(Path("models", day, "pruned"), day, made, state)
    _write_scores(DAY)
    Pool.empty().write(Path("scores", FIRST, "pooled"), FIRST)


def _write_scores(day: str) -> None:
    """Write scores of the next day: drawn, for it is not they that take time."""
    events = FeatureSet.load(Path("data/features", day, "score"))
    draw = np.random.default_rng(2)
    drawn = {f"p_{name}": draw.beta(2, 6, len(events)) for name in ("dense", "served")}
    table = pl.DataFrame({"row_hash": events.row_hash, "label": events.label, **drawn})
    with artefact(Path("scores", day, "next_day"), "scores", day, {"lines": ["dense", "served"]}) as folder:
        table.write_parquet(folder / "scores.parquet")


if __name__ == "__main__":
    work({"lines": lines})
