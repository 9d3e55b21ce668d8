"""How long a command takes to begin: `python -m benchmarks.ladder.startup`.

Each is a process of its own, from its start to its end; medians. The day that does nothing is stored already, in a
workspace of the simulator.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.ladder.table import Row, show
from benchmarks.operations import GENESIS, make_workspace, run
from recprune.days import add_days

TURNS = 7
HELP, SERVING, NOTHING = 0.3, 0.5, 5.0
"""Goals, seconds."""


def main() -> None:
    """Print the table."""
    show(rungs(), "start-up")


def rungs() -> list[Row]:
    """Measure; returns the rows of the ladder."""
    python, first = sys.executable, add_days(GENESIS, 1)
    bare = seconds([python, "-c", "pass"])
    with tempfile.TemporaryDirectory() as folder:
        make_workspace(Path(folder))
        run(Path(folder), "run", "--day", first)
        found = {
            "recprune --help": (HELP, seconds([python, "-m", "recprune", "--help"])),
            "import of the scorer": (SERVING, seconds([python, "-c", "import recprune.serving.champion"])),
            "a stored day, run again": (NOTHING, seconds([python, "-m", "recprune", "run", "--day", first], folder)),
        }
    return [
        Row(f"{what}: seconds (limit: Python alone)", took, None, bare, None, f"≤ {goal:g}")
        for what, (goal, took) in found.items()
    ]


def seconds(command: list[str], folder: str | None = None) -> float:
    """Return the median wall seconds of a command, which was called once before."""
    took = []
    for _ in range(TURNS + 1):
        begun = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        took.append(time.perf_counter() - begun)
    return median(took[1:])


if __name__ == "__main__":
    main()
