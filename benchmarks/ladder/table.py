"""Rows of the ladder, and what is measured in a process of its own."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """A figure and what it is compared with."""

    what: str
    ours: str
    """With its unit."""
    peer: str
    """Who, and its figure."""
    ratio: float
    """Ours over the peer's, or over the goal where there is no peer."""
    goal: str


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a piece of work in a process of its own; imports are not counted."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of all its threads."""
    peak: float
    """Largest resident set, MB; imports are counted."""


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a table."""
    table = Table("", "ours", "compared with", "ratio", "goal", title=title)
    for row in rows:
        table.add_row(row.what, row.ours, row.peer, f"{row.ratio:.2f}", row.goal)
    Console(width=160).print(table)


def work(named: Mapping[str, Callable[..., object]]) -> bool:
    """Do the work that this process was started for, if it was, and tell its cost; says whether it was."""
    if sys.argv[1:2] != ["--work"]:
        return False
    name, arguments = sys.argv[2], json.loads(sys.argv[3])
    begun, worked = time.perf_counter(), time.process_time()
    named[name](*arguments)
    cost: dict[str, Any] = {"wall": time.perf_counter() - begun, "cpu": time.process_time() - worked}
    cost["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    sys.stdout.write(json.dumps(cost))
    return True


def measure(module: str, name: str, *arguments: Any) -> Cost:
    """Start a module of the ladder for a piece of its work; returns what it cost."""
    command = [sys.executable, "-m", module, "--work", name, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def middle(costs: Sequence[Cost]) -> Cost:
    """Return the medians of several runs."""
    return Cost(*(median(getattr(cost, name) for cost in costs) for name in Cost.__slots__))
