"""Export and evaluate with a large vocabulary: `python -m benchmarks.ladder.export [--ids 1000000] [--rows 1000000]`.

`recprune step export` and `recprune step evaluate` as `dvc.yaml` calls them, each a new process, its start included,
after the day before served a bundle of the same size; what is kept within a day is removed before. Then once more under
a profiler, for where the time goes, and once as if no network of these sizes had been written down before.
"""

import argparse
import cProfile
import os
import pstats
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ladder.large import DAY, MODELS, Place, make_events, make_model
from benchmarks.ladder.networks import TITLES
from benchmarks.ladder.table import Cost, Row, middle, show
from recprune.files import SCRATCH
from recprune.lowering.measured import COSTS

IDS, ROWS, TURNS = 1_000_000, 1_000_000, 3
GOAL = 10.0
"""Seconds of both steps."""
STEPS = ("export", "evaluate")
PARTS = {
    "export": {
        "lines, events and vocabulary read": ("checkpoint.load_lines", "partition.open_partition", "vocabulary.load"),
        "ids to rows, torch's logits": ("features.encode", "scoring.score"),
        "ranges of the layers' inputs": ("ranges.input_ranges",),
        "rounding judged": ("lower._logits", "lower.fit", "intervals.paired < lower.lower"),
        "graphs built": ("graph.build_graph",),
        "bundle written and checked": ("external.save_model < export.export", "files.sync_tree"),
        "parity": ("lower._finite",),
        "times of calls, beside the dense export": ("delivered.compare",),
    },
    "evaluate": {
        "bundles read, checked and loaded": ("evaluate._opened",),
        "events, features and scores read": (
            "evaluate._counted", "partition.open_partition", "files.open_artefact < evaluate.evaluate",
        ),
        "rows scored": ("evaluate._score",),
        "slices": ("evaluate._sliced", "slices.slices"),
        "metrics and pool": ("evaluate._metrics", "pool.and_day"),
        "times of calls": ("evaluate._measured",),
    },
}  # fmt: skip
"""By what is told the functions whose time it is, where a caller is named of its calls alone."""


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--profile"]:
        profile(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(MODELS)}; all if none is given")
    parser.add_argument("--ids", type=int, default=IDS, help="rows of the embedding table")
    parser.add_argument("--rows", type=int, default=ROWS, help="events of the day")
    given = parser.parse_args()
    if unknown := set(given.networks) - set(MODELS):
        parser.error(f"{', '.join(sorted(unknown))}: networks are {', '.join(MODELS)}")
    rows = rungs(given.ids, given.rows, given.networks or list(MODELS))
    show(rows, f"export and evaluate, {given.ids:,} ids, {given.rows:,} events")


def rungs(ids: int = IDS, rows: int = ROWS, names: list[str] | None = None, turns: int = TURNS) -> list[Row]:
    """Measure; returns the rows of the ladder."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        place = make_events(Path(folder), ids, rows)
        for name in names or list(MODELS):
            make_model(place, name)
            found += both(place, name, turns)
    return found


def both(place: Place, name: str, turns: int) -> list[Row]:
    """Do both steps of the day of a workspace, several times by turns, and once more under a profiler."""
    taken = {step: list[Cost]() for step in STEPS}
    for _ in range(turns):
        for step in STEPS:
            taken[step].append(timed(place, step))
    found = _figures(name, {step: middle(costs) for step, costs in taken.items()}) + _parts(name, place)
    shutil.rmtree(place.folder / COSTS)
    new = timed(place, "export").wall
    return [*found, Row(f"{TITLES[name]}: export of a network of new sizes: seconds", new, None, None, None, "–")]


def timed(place: Place, step: str) -> Cost:
    """Do a step, as if for the first time; returns what its process cost."""
    shutil.rmtree(place.folder / SCRATCH / DAY, ignore_errors=True)
    return _run(place.command(step), place.folder)


def _run(command: list[str], folder: Path) -> Cost:
    """Run a command; returns what its process cost, from its start to its end."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ends with {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(time.perf_counter() - begun, cpu, usage.ru_maxrss / 1000)


def _figures(name: str, costs: dict[str, Cost]) -> list[Row]:
    whole = sum(cost.wall for cost in costs.values())
    found = [Row(f"{TITLES[name]}: export and evaluate: seconds", whole, None, None, None, f"≤ {GOAL:g}")]
    for step, cost in costs.items():
        found += [
            Row(f"{TITLES[name]}: {step}: seconds", cost.wall, None, None, None, "–"),
            Row(f"{TITLES[name]}: {step}: processor seconds", cost.cpu, None, None, None, "–"),
            Row(f"{TITLES[name]}: {step}: peak memory, MB", cost.peak, None, None, None, "–"),
        ]
    return found


def _parts(name: str, place: Place) -> list[Row]:
    """Return how many seconds each part of the steps takes, under a profiler, and what is left."""
    found = []
    for step in STEPS:
        shutil.rmtree(place.folder / SCRATCH / DAY, ignore_errors=True)
        command = [sys.executable, "-m", __spec__.name, "--profile", step, *place.command(step)[3:]]
        here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, cwd=place.folder, env=here, capture_output=True, text=True, check=True)
        told = dict(line.rpartition(": ")[::2] for line in done.stdout.splitlines()[-len(PARTS[step]) - 1 :])
        start = _run([sys.executable, "-c", f"import recprune.steps.{step}"], place.folder)
        parts = {"start and imports": start.wall, **told}
        for part, spent in parts.items():
            found.append(Row(f"{TITLES[name]}: {step}, of it {part}: seconds", float(spent), None, None, None, "–"))
    return found


def profile(step: str, command: list[str]) -> None:
    """Do a step in this process and print the seconds of its parts."""
    __import__(f"recprune.steps.{step}")
    begun, profiler = time.perf_counter(), cProfile.Profile()
    sys.argv = ["recprune", *command]
    profiler.enable()
    try:
        runpy.run_module("recprune", run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    finally:
        profiler.disable()
    whole, below = time.perf_counter() - begun, _seconds(profiler)
    parts = {part: sum(below.get(name, 0.0) for name in names) for part, names in PARTS[step].items()}
    parts["all else"] = whole - sum(parts.values())
    sys.stdout.write("".join(f"{part}: {spent:.3f}\n" for part, spent in parts.items()))


def _seconds(profiler: cProfile.Profile) -> dict[str, float]:
    """Return the seconds in each of our functions and below, of all calls and of each caller's."""
    found: dict[str, float] = {}
    for place, (_, _, _, below, callers) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if "recprune/" in place[0]:
            every = {_name(place): below}
            every |= {f"{_name(place)} < {_name(caller)}": times[3] for caller, times in callers.items()}
            found |= {name: found.get(name, 0.0) + spent for name, spent in every.items()}
    return found


def _name(place: tuple[str, int, str]) -> str:
    return f"{Path(place[0]).stem}.{place[2]}"


if __name__ == "__main__":
    main()
