"""A whole day beside the bare training loop: `python -m benchmarks.ladder.day [ROWS]`.

Rows of the simulator in Criteo's layout, 26 features of 20,000 live ids each. Genesis learns and carves on two shorter
days; then `recprune run` takes a day of ROWS through every step, each in a process of its own, two lines learning. The
loop is plain PyTorch, one line, on the day's rows ready-made in memory: same network and batches, all cores.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import yaml

from benchmarks.day import commands
from benchmarks.day import measure as measure_command
from benchmarks.ladder.figures import use_cores
from benchmarks.ladder.networks import Network
from benchmarks.ladder.peers import plain
from benchmarks.ladder.table import Row, measure, show, work
from recprune.data.features import FeatureSet

ROWS, SHORTER = 1_000_000, 200_000
IDS, FIRST, DAY = 20_000, "2024-01-01", "2024-01-03"
TIMES, MEMORY, GROWTH = 2.5, 3000.0, 1.1
"""Goals: of the loop's time; MB; time a row of ten times the rows."""


def main() -> None:
    """Print the table."""
    if work({"loop": loop}):
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    show(rungs(rows), f"a day of {rows:,} rows")


def rungs(rows: int) -> list[Row]:
    """Measure; returns the rows of the ladder."""
    with workspace(rows) as folder:
        begun = time.perf_counter()
        peak = _run(["run", "--day", DAY], folder)
        whole = time.perf_counter() - begun
        alone = measure(__spec__.name, "loop", str(folder)).wall
        steps = {name: measure_command(command, folder) for name, command in commands(folder, DAY).items()}
    what = f"a day of {rows:,} rows"
    found = [
        Row(f"{what}: seconds (peer: bare loop)", whole, alone, None, whole / alone, f"≤ {TIMES:g}"),
        Row(f"{what}: peak memory, MB", peak, None, None, None, f"≤ {MEMORY:g}"),
    ]
    for name, (seconds, megabytes) in steps.items():
        found += [
            Row(f"{what}: {name}, seconds", seconds, None, None, None, "–"),
            Row(f"{what}: {name}, peak memory, MB", megabytes, None, None, None, "–"),
        ]
    return found


@contextmanager
def workspace(rows: int) -> Iterator[Path]:
    """Make a workspace whose next day has so many rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packaged = (files("recprune") / "templates/params.yaml.template").read_text(encoding="utf-8")
        settings = yaml.safe_load(packaged)
        settings["ingest"] |= {"source": "criteo", "criteo": {"path": str(folder / "day_*.tsv"), "first_day": FIRST}}
        settings["ingest"]["simulator"]["ids"] = IDS
        settings["validate"]["rows_factor"] = 1000.0
        (folder / "ws").mkdir()
        (folder / "ws/params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        _simulate(folder, rows)
        _run(["init", ".", "--source", "criteo", "--history", "2", "--start", DAY], folder / "ws")
        yield folder / "ws"


def _simulate(folder: Path, rows: int) -> None:
    """Write two shorter days, then the day."""
    sizes = (min(SHORTER, rows), min(SHORTER, rows), rows)
    a_day = min(SHORTER, rows)
    _run(["simulate", "../rows.tsv", "--days", str(-(-sum(sizes) // a_day)), "--rows", str(a_day)], folder / "ws")
    with (folder / "rows.tsv").open("rb") as lines:
        for number, size in enumerate(sizes, 1):
            with (folder / f"day_{number:02d}.tsv").open("wb") as out:
                out.writelines(islice(lines, size))
    (folder / "rows.tsv").unlink()


def _run(arguments: list[str], folder: Path) -> float:
    """Run a command of recprune; returns the largest resident set among its processes, MB."""
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen([sys.executable, "-m", "recprune", *arguments], cwd=folder, stdout=said, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in (0, 3):  # a day that is held has gone through every step, too
            said.seek(0)
            raise SystemExit(f"recprune {' '.join(arguments)}: {said.read().decode()}")
    return used.ru_maxrss / 1000


def loop(folder: str) -> None:
    """Learn the day's rows once, batch by batch."""
    use_cores()
    settings = yaml.safe_load((Path(folder) / "params.yaml").read_text(encoding="utf-8"))
    stored = FeatureSet.load(Path(folder) / f"data/features/{DAY}/learn")
    events = stored.rows(slice(None))
    sizes = tuple(int(n) + 1 for n in np.max(events.ids, axis=0))
    model = settings["model"]
    network = Network(name="loop", bottom=tuple(model["bottom"]), top=tuple(model["top"]), sizes=sizes)
    torch.manual_seed(1)
    learn = plain(network, settings["train"]["batch"], one_table=False)
    learn(FeatureSet(events.ids, np.nan_to_num(events.numbers), events.label, events.row_hash, events.weight))


if __name__ == "__main__":
    main()
