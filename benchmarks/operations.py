"""What a day costs besides its computing, and whether that stays flat: day 10 beside day 400.

Use: `python -m benchmarks.operations [DAYS]`.

Three real days of a small workspace are run and multiplied into dated copies (`benchmarks/many_days.py`): up to day 9
in one workspace, up to day DAYS - 1 in a copy of it. Real days follow in both, and every command is timed in both by
turns, so that other work on the machine slows both. The simulator's stream does not drift here.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import yaml

from benchmarks.many_days import multiply
from recprune import times
from recprune.days import add_days
from recprune.versioning.pipeline import STAGES

GENESIS = "2023-12-31"
REAL, FEW, MANY = 3, 10, 400
DAYS_RUN, REPEATS = 3, 3
SETTINGS = {
    "ingest": {
        "source": "simulator",
        "simulator": {
            "rows": 900, "categorical": 5, "numeric": 2, "informative": 5, "ids": 60, "new_ids": 0.0,
            "hidden_turnover": 0.0, "taste_drift": 0.0, "season": 0.0,
        },
    },
    "model": {"embedding": 8, "bottom": [16], "top": [64, 32]},
    "prune": {"min_neurons": 4},
    "evaluate": {"repeats": 10},
    "export": {"precision": "fp32"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one command."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of all its processes."""


def main() -> None:
    """Make the workspaces and print the tables."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else MANY
    with tempfile.TemporaryDirectory() as folder:
        tables(make_workspaces(Path(folder), many), many)


def tables(places: dict[int, Path], many: int) -> None:
    """Time everything and print it."""
    say(f"| | day {FEW} | day {many} | ratio | ratio of CPU seconds |\n|---|---|---|---|---|")
    for name, found in time_days(places).items():
        row(name, found)
    for name, (command, before) in commands().items():
        row(name, by_turns(places, command, before))
    first = {number: run(place, "gc") for number, place in places.items()}
    row("the first `recprune gc --keep 30`", {number: [cost] for number, (cost, _) in first.items()})
    for name, word in (("`recprune doctor` after it", "doctor"), ("the next `recprune gc`", "gc")):
        row(name, by_turns(places, [word], nothing))
    say(f"\nOn day {many} the first gc said: {first[many][1]}")


def make_workspaces(folder: Path, many: int) -> dict[int, Path]:
    """Return a workspace before its tenth day, and one before a later one."""
    few = folder / str(FEW)
    few.mkdir()
    make_workspace(few)
    run(few, "run", "--from", add_days(GENESIS, 1), "--to", add_days(GENESIS, REAL))
    multiply(few, add_days(GENESIS, REAL + 1), add_days(GENESIS, FEW - 1))
    late = folder / str(many)
    shutil.copytree(few, late, symlinks=True)
    config = late / ".dvc/config"
    config.write_text(config.read_text(encoding="utf-8").replace(str(few), str(late)), encoding="utf-8")
    multiply(late, add_days(GENESIS, FEW), add_days(GENESIS, many - 1))
    for place in (few, late):
        run(place, "report")
    return {FEW: few, many: late}


def make_workspace(folder: Path) -> None:
    """Make a small workspace after genesis."""
    packaged = Path(__file__).parents[1] / "recprune/templates/params.yaml.template"
    settings = merged(yaml.safe_load(packaged.read_text(encoding="utf-8")), SETTINGS)
    (folder / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    run(folder, "init", ".", "--start", add_days(GENESIS, 1))


def merged(old: object, new: object) -> object:
    """Return settings with others in their place."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: merged(old.get(key), value) for key, value in new.items()}
    return new


def commands() -> dict[str, tuple[list[str], Callable[[Path, str], None]]]:
    """Return the commands that are timed, and what is done before each; NEXT and LAST stand for days."""
    return {
        "`recprune status`": (["status"], nothing),
        "`recprune run --day D --only plan`, a new plan": (["run", "--day", "NEXT", "--only", "plan"], without_plan),
        "`recprune report`, one page is new": (["report"], without_page),
        "`recprune registry list`": (["registry", "list"], nothing),
        "`recprune doctor`, every artefact read": (["doctor"], nothing),
        "`recprune fetch`, a day back": (["fetch", "LAST"], nothing),
    }


def nothing(_place: Path, _day: str) -> None:
    """Change nothing."""


def without_plan(place: Path, day: str) -> None:
    """Remove the next day's plan."""
    (place / f"plans/{add_days(day, 1)}.json").unlink(missing_ok=True)


def without_page(place: Path, day: str) -> None:
    """Remove the last day's page."""
    (place / f"reports/{day}/index.html").unlink()


def time_days(places: dict[int, Path]) -> dict[str, dict[int, list[Cost]]]:
    """Run real days in both workspaces by turns; returns what each took, in parts."""
    found: dict[str, dict[int, list[Cost]]] = {}
    for turn in range(DAYS_RUN):
        for number, place in places.items():
            for name, cost in time_day(place, add_days(GENESIS, number + turn)).items():
                found.setdefault(name, {}).setdefault(number, []).append(cost)
    return found


def time_day(place: Path, day: str) -> dict[str, Cost]:
    """Run a day; returns the seconds of all, of the steps' own functions, and of the rest by its parts."""
    notes = place / ".recprune/own_times"
    notes.unlink(missing_ok=True)
    whole, _ = run(place, "run", "--day", day, notes=notes)
    lines = [line.split() for line in notes.read_text(encoding="utf-8").splitlines()]
    own = Cost(sum(float(wall) for _, wall, _ in lines), sum(float(cpu) for _, _, cpu in lines))
    took = times.took(times.attempts((place / times.path(day)).read_text(encoding="utf-8")))
    parts = {name: took.get(name, 0.0) for name in ("plan", "store", "promote")}
    stages = sum(took.get(name, 0.0) for name in STAGES)
    parts["starts and imports of the eight steps, and DVC between them"] = stages - own.wall
    parts["start of the command, ends of DVC, report"] = whole.wall - sum(took.values())
    told = {"a whole day, `recprune run --day D`": whole, "– its steps' own computing": own}
    told["– everything else"] = Cost(whole.wall - own.wall, whole.cpu - own.cpu)
    return told | {f"– – {name}": Cost(seconds, 0.0) for name, seconds in parts.items()}


def by_turns(
    places: dict[int, Path], command: Sequence[str], before: Callable[[Path, str], None]
) -> dict[int, list[Cost]]:
    """Time a command in both workspaces by turns, the first time for warmth only."""
    found: dict[int, list[Cost]] = {number: [] for number in places}
    for turn in range(REPEATS + 1):
        for number, place in places.items():
            day = add_days(GENESIS, number + DAYS_RUN - 1)
            before(place, day)
            words = {"NEXT": add_days(day, 1), "LAST": add_days(day, -1)}
            cost, _ = run(place, *[words.get(word, word) for word in command])
            if turn:
                found[number].append(cost)
    return found


def run(place: Path, *arguments: str, notes: Path | None = None) -> tuple[Cost, str]:
    """Run recprune; a day that is held is a day too.

    Args:
        place: the workspace.
        arguments: of recprune.
        notes: file that the steps' own times go to.
    """
    here = Path(__file__).parent
    paths = [str(here / "own_time"), str(here.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "RECPRUNE_OWN_TIMES": str(notes or "")}
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "recprune", *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(arguments)} in {place}: {done.stdout}{done.stderr}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), done.stdout


def row(name: str, found: dict[int, list[Cost]]) -> None:
    """Print a line: the medians, and what the later one is of the earlier one."""
    wall = [median(cost.wall for cost in costs) for costs in found.values()]
    cpu = [median(cost.cpu for cost in costs) for costs in found.values()]
    both = f"{cpu[1] / cpu[0]:.2f}" if cpu[0] else ""
    say(f"| {name} | {wall[0]:.2f} s | {wall[1]:.2f} s | {wall[1] / wall[0]:.2f} | {both} |")


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
