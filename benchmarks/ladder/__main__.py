"""The whole ladder, one table: `python -m benchmarks.ladder [--small] [--page FILE]`.

About twenty minutes on two free cores; `--small` about five, of so few rows that its figures mean little.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.ladder import (
    day,
    device,
    distributed,
    export,
    featurize,
    ingest,
    prune,
    scoring,
    startup,
    train,
    validate,
)
from benchmarks.ladder.table import REACHED, Row, brief, show

_LIBRARIES = ("torch", "polars", "pyarrow", "great-expectations", "onnxruntime")
BEGIN, END = "<!-- ladder: begin -->", "<!-- ladder: end -->"
"""What `make bench` writes lies between these lines of the page."""


def main() -> None:
    """Print the table, and write it down if that is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few rows: does it run?")
    parser.add_argument("--page", type=Path, help="write the table there too")
    given = parser.parse_args()
    found, begun = list[Row](), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, rung in rungs(given.small, Path(folder)).items():
            sys.stderr.write(f"{name} ... ({time.perf_counter() - begun:.0f} s so far)\n")
            found += rung()
    about = f"{machine()}; {(time.perf_counter() - begun) / 60:.0f} minutes"
    show(found, about)
    if given.page:
        written = given.page.read_text(encoding="utf-8")
        given.page.write_text(with_table(written, found, about), encoding="utf-8")


def rungs(small: bool, folder: Path) -> dict[str, Callable[[], list[Row]]]:
    """Return what is measured; files that several need lie in a folder."""
    rows, a_day, seconds = (100_000, 20_000, 0.5) if small else (5_000_000, 1_000_000, 4.0)
    names = ["dlrm"] if small else []
    return {
        "ingest": lambda: ingest.rungs(rows, folder),
        "validate": lambda: validate.rungs(rows, folder),
        "featurize": lambda: featurize.rungs(a_day),
        "train": lambda: train.measure(min(rows, 100_000), seconds, threads=1),
        "several processes": lambda: distributed.measure(min(rows, 100_000), seconds, names),
        "prune": lambda: prune.measure(min(rows, 200_000), seconds / 2),
        "export": lambda: export.rungs(a_day, a_day, names, 1 if small else 2),
        "scoring": lambda: scoring.rungs(names, seconds=seconds / 4, ids=a_day, rows=min(a_day, 200_000)),
        "device": lambda: device.measure(min(rows, 100_000), seconds / 2),
        "a day": lambda: day.rungs(a_day),
        "start-up": startup.rungs,
    }


def machine() -> str:
    """Name the machine, the libraries and the date."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    cores = f"{len(names)} cores of {names[0]}" if names else platform.processor()
    versions = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return f"{cores}, Python {platform.python_version()}, {versions}, {datetime.now(UTC):%Y-%m-%d}"


def with_table(page: str, rows: list[Row], about: str) -> str:
    """Return a page with the table between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"the page has no lines {BEGIN} and {END}, between which the table belongs")
    return f"{before}{begin}\n{markdown(rows, about)}{end}{after}"


def markdown(rows: list[Row], about: str) -> str:
    """Return two tables as Markdown: what has a goal, and all else."""
    lines = [f"{about}.", "", "| with a goal | ours | peer | limit | ratio | goal | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if row.goal != "–":
            told = f"**{REACHED[False]}**" if row.reached is False else REACHED[row.reached]
            lines.append(f"| {row.what} | {_cells(row)} | {row.goal} | {told} |")
    lines += ["", "| all else | ours | peer | limit | ratio |", "|---|---|---|---|---|"]
    lines += [f"| {row.what} | {_cells(row)} |" for row in rows if row.goal == "–"]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> str:
    return " | ".join(map(brief, row[1:5]))


if __name__ == "__main__":
    main()
