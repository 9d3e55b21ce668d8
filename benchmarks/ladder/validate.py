"""Validation of a large day: `python -m benchmarks.ladder.validate [ROWS]`.

The profile, one row of measures of 13 numbers and 26 features of ids, and the verdict on it: what Great Expectations
judges, its import included. Each run is a process of its own. The day is profiled as a later day is: with the bin edges
and the vocabulary of a day before.
"""

import json
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from benchmarks.ladder.ingest import criteo_files, ours
from benchmarks.ladder.table import Row, measure, middle, show, work
from recprune.data.expectations import expectations
from recprune.data.ids import Admission
from recprune.data.partition import open_partition
from recprune.data.profile import measure as profile_of
from recprune.data.vocabulary import Vocabulary
from recprune.settings import read_settings
from recprune.steps.validate import judge

ROWS, TURNS = 5_000_000, 3
PROFILE, VERDICT = 1_000_000, 5.0
"""Goals: rows a second, and seconds."""


def main() -> None:
    """Print the table."""
    if work({"ingest": ours, "learn": learn, "profile": profile, "verdict": verdict}):
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        show(rungs(rows, Path(folder)), f"validate, {rows:,} rows")


def rungs(rows: int, folder: Path) -> list[Row]:
    """Measure, with files in a folder; returns the rows of the ladder."""
    path, _ = criteo_files(folder, rows)
    day = f"{folder}/day"
    measure(__spec__.name, "ingest", str(path), day)
    measure(__spec__.name, "learn", day)
    profiled = middle([measure(__spec__.name, "profile", day) for _ in range(TURNS)])
    judged = middle([measure(__spec__.name, "verdict", day) for _ in range(TURNS)])
    speed = rows / profiled.wall
    return [
        Row("profile of a day: rows/s", speed, None, None, None, f"≥ {PROFILE:,}"),
        Row("profile of a day: peak memory, MB", profiled.peak, None, None, None, "–"),
        Row("verdict on it: seconds", judged.wall, None, None, None, f"≤ {VERDICT:g}"),
    ]


def learn(day: str) -> None:
    """Leave what a day before leaves: its vocabulary, and its profile."""
    partition = open_partition(Path(day) / "events")
    vocabulary = Vocabulary.empty(partition.schema)
    before = profile_of(partition, vocabulary, [])
    vocabulary.learn(partition.scan().head(1_000_000).collect(), Admission(2)).save(Path(day) / "vocab", partition.day)
    (Path(day) / "before.json").write_text(json.dumps(before), encoding="utf-8")


def profile(day: str) -> None:
    """Measure the day."""
    earlier = [json.loads((Path(day) / "before.json").read_text(encoding="utf-8"))]
    partition = open_partition(Path(day) / "events")
    found = profile_of(partition, Vocabulary.read(Path(day) / "vocab"), earlier)
    (Path(day) / "today.json").write_text(json.dumps(found), encoding="utf-8")


def verdict(day: str) -> None:
    """Judge the profile."""
    today, before = (
        json.loads((Path(day) / f"{name}.json").read_text(encoding="utf-8")) for name in ("today", "before")
    )
    packaged = files("recprune") / "templates/params.yaml.template"
    (Path(day) / "params.yaml").write_text(packaged.read_text(encoding="utf-8"), encoding="utf-8")
    wanted = expectations(today, [before], read_settings(Path(day)).validate)
    _, met = judge(today["day"], wanted)
    assert all(met), [each.sentence() for each, passed in zip(wanted, met, strict=True) if not passed]


if __name__ == "__main__":
    main()
