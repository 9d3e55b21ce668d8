"""Rows of the ladder, and what is measured in a process of its own."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

_LARGE = 100
"""A goal of at least so much is none of a ratio."""


class Row(NamedTuple):
    """One figure; what was not measured is None, of ours NaN."""

    what: str
    ours: float
    peer: float | None
    limit: float | None
    """What the machine allows."""
    ratio: float | None
    """Ours as a multiple of the peer's, or a share of the limit."""
    goal: str
    """`≥ 2`, `≤ 1.3`: of the ratio, or of ours itself where there is no peer or the number is a large one."""

    @property
    def reached(self) -> bool | None:
        """Say whether the goal is reached; None, where there is none."""
        sign, _, text = self.goal.partition(" ")
        if sign not in ("≥", "≤") or isnan(self.ours):
            return None
        number = float(text.replace(",", ""))
        alone = number >= _LARGE or (sign == "≤" and self.peer is None) or self.ratio is None
        value = self.ours if alone or self.ratio is None else self.ratio
        return value >= number if sign == "≥" else value <= number


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a piece of work in a process of its own; imports are not counted."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of all its threads."""
    peak: float
    """Largest resident set, MB; imports are counted."""


REACHED = {True: "reached", False: "missed", None: "not measured"}


def show(rows: Sequence[Row], title: str) -> None:
    """Print the table."""
    table = Table("what", "ours", "peer", "limit", "ratio", "goal", "", title=title)
    for row in rows:
        told = "" if row.goal == "–" else REACHED[row.reached]
        table.add_row(row.what, *(brief(value) for value in row[1:5]), row.goal, told)
    Console(width=180).print(table, markup=False)


def brief(value: float | None) -> str:
    """Write a figure, or a dash where there is none."""
    if value is None or isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


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
