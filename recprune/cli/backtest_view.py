"""What a back-test shows: a bar while it works, the table of policies when it is done."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress, zip_longest
from typing import Any

from rich.cells import cell_len
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from recprune.cli.terminal import Terminal
from recprune.metrics.bootstrap import FEWEST_BLOCKS, LEAST_BLOCK, enough
from recprune.report.backtest_table import table

PARTS, PAUSE = 20, 5.0
"""Off a terminal a line is printed when one more of so many parts is done, and so many seconds have passed."""
FIRST_TO_GO = ("weights", "seeds", "training", "batch of 1", "seed spread", "detectable", "FLOPs", "batch of 128")
"""Columns that a narrow terminal has no room for, the least important first."""
GAP = "  "
out = Terminal(soft_wrap=True)


class Bar:
    """Counts days, with the time left: a bar on a terminal, lines elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._task = progress, TaskID(0)
        self._total = self._done = self._told = 0
        self._begun = self._spoke = time.monotonic()

    def begin(self, text: str) -> None:
        """A part of the work begins; days are counted anew."""
        out.print(text)
        self._total = self._done = self._told = 0
        self._begun = self._spoke = time.monotonic()
        if self._progress:
            for task in self._progress.task_ids:
                self._progress.remove_task(task)
            self._task = self._progress.add_task("days", total=None)

    def say(self, text: str) -> None:
        """Something is worth knowing."""
        out.print(text)

    def expect(self, days: int) -> None:
        """So many more days will come."""
        self._total += days
        self._told = PARTS * self._done // max(self._total, 1)
        self.advance(0)

    def advance(self, days: int) -> None:
        """So many are done."""
        self._done += days
        if self._progress:
            self._progress.update(self._task, total=self._total or None, completed=self._done)
            return
        told, now = PARTS * self._done // max(self._total, 1), time.monotonic()
        if told > self._told and now >= self._spoke + PAUSE:
            self._told, self._spoke = told, now
            out.print(f"{self._done:,} of {self._total:,} days{self._left(now)}")

    def _left(self, now: float) -> str:
        left = self._total - self._done
        return f", about {duration((now - self._begun) * left / self._done)} left" if left else ""


def duration(seconds: float) -> str:
    """Write a time that is only roughly known.

    >>> duration(50), duration(200), duration(40_000)
    ('50 s', '3 min', '11.1 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def bar() -> Iterator[Bar]:
    """Show the progress of a back-test."""
    if not out.is_terminal:
        yield Bar(None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        yield Bar(progress)


def show(result: dict[str, Any]) -> None:
    """Print the table: as many columns as the terminal has room for, all of them elsewhere."""
    days, whole = len(result["days"]), table(result)
    rows = fitting(whole, out.width) if out.is_terminal else whole
    out.print(f"\n{result['title']}: scored days {days}, seeds {len(result['seeds'])}")
    for line in lines(rows):
        out.print(line)
    if gone := [name for name in whole[0] if name not in {_flat(heading) for heading in rows[0]}]:
        out.print(f"Too narrow for {', '.join(gone)}: see the page.")
    if not enough(days):
        least = f"{FEWEST_BLOCKS * LEAST_BLOCK:g}"
        out.print(f"No intervals: {days} scored days are too few, {least} are needed; no difference here is proved.")
    for trial in result["trials"]:
        if trial["failed"]:
            out.print(
                f"failed: {trial['policy']} at {100 * trial['budget']:g} %, seed {trial['seed']}: {trial['failed']}"
            )


def fitting(cells: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    r"""Return a table, heading first, in a width: as it is, or in short lines, at worst with fewer columns.

    >>> fitting([["policy", "against dense"], ["ads:swap=4", "+0.42 % (−0.10 % to +0.94 %)"]], 20)
    [['policy', 'against\ndense'], ['ads\n:swap=4', '+0.42 %\n−0.10 to +0.94']]
    """
    rows = [list(row) for row in cells]
    if _width(rows) <= width:
        return rows
    rows = [[name.replace(" ", "\n", 1) for name in rows[0]], *([_short(cell) for cell in row] for row in rows[1:])]
    for name in FIRST_TO_GO:
        if _width(rows) <= width:
            break
        kept = [_flat(heading) != name for heading in rows[0]]
        rows = [list(compress(row, kept)) for row in rows]
    return rows


def lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    r"""Yield the lines of a table, heading first: the first column to the left, numbers to the right.

    >>> print("\n".join(lines([["policy", "NE"], ["ads\n:swap=4", "0.8"]])))
    policy    NE
    ────────────
    ads      0.8
    :swap=4
    """
    widths = _widths(rows)
    for number, row in enumerate(rows):
        for parts in zip_longest(*(cell.split("\n") for cell in row), fillvalue=""):
            padded = [part.rjust(width + len(part) - cell_len(part)) for part, width in zip(parts, widths, strict=True)]
            yield GAP.join([parts[0].ljust(widths[0]), *padded[1:]]).rstrip()
        if number == 0:
            yield "─" * _width(rows)


def _short(cell: str) -> str:
    """Put an interval below its difference and a policy's settings below its name; leave out latency in int8."""
    below = re.sub(r" \((\S+) % to (\S+) %\)$", r"\n\1 to \2", re.sub(r" \(int8 .*\)$", "", cell))
    return re.sub(r":(?=\w+=)", r"\n:", below)


def _flat(heading: str) -> str:
    return heading.replace("\n", " ")


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(cell_len(part) for cell in column for part in cell.split("\n")) for column in zip(*rows, strict=True)]


def _width(rows: Sequence[Sequence[str]]) -> int:
    widths = _widths(rows)
    return sum(widths) + len(GAP) * (len(widths) - 1)
