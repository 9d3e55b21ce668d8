"""The whole ladder, one table: `python -m benchmarks.ladder [--small] [--markdown FILE]`.

About twenty minutes on two free cores; `--small` about five, of so few rows that its figures mean little.
"""

import argparse
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.ladder import export, ingest, prune, scoring, startup, train, validate
from benchmarks.ladder.table import Row, brief, show

_LIBRARIES = ("torch", "polars", "pyarrow", "great-expectations", "onnxruntime")


def main() -> None:
    """Print the table, and write it down if that is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few rows: does it run?")
    parser.add_argument("--markdown", type=Path, help="write the table there too")
    given = parser.parse_args()
    rows, seconds = (200_000, 1.0) if given.small else (5_000_000, 8.0)
    found: list[Row] = []
    for name, rung in rungs(rows, seconds).items():
        sys.stderr.write(f"{name} ...\n")
        found += rung()
    about = machine()
    show(found, about)
    if given.markdown:
        given.markdown.write_text(markdown(found, about), encoding="utf-8")


def rungs(rows: int, seconds: float) -> dict[str, Callable[[], list[Row]]]:
    """Return what is measured, of so many rows, for so many seconds."""
    return {
        "ingest": lambda: ingest.rungs(rows),
        "validate": lambda: validate.rungs(rows),
        "train": lambda: train.measure(min(rows, 200_000), seconds),
        "prune": lambda: prune.measure(min(rows, 200_000), seconds / 2),
        "export": lambda: export.rungs(rows // 5, rows // 5),
        "scoring": lambda: scoring.rungs(seconds=seconds / 4, ids=rows // 5, rows=min(rows, 200_000)),
        "start-up": startup.rungs,
    }


def machine() -> str:
    """Name the machine, the libraries and the date."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    cores = f"{len(names)} cores of {names[0]}" if names else platform.processor()
    versions = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return f"{cores}, Python {platform.python_version()}, {versions}, {datetime.now(UTC):%Y-%m-%d}"


def markdown(rows: list[Row], about: str) -> str:
    """Return the table as Markdown."""
    lines = [f"{about}.", "", "| | ours | peer | limit | ratio | goal |", "|---|---|---|---|---|---|"]
    lines += [f"| {row.what} | {' | '.join(map(brief, row[1:5]))} | {row.goal} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
