"""Ingest beside Polars reading the same file: `python -m benchmarks.ladder.ingest [ROWS]`.

A Criteo-layout file of the simulator, plain and gzip. Ours types every row, sets aside what cannot be used, finds
duplicates and writes Parquet with its manifest; Polars only reads, and guesses the types. Each run is a process of its
own, by turns.
"""

import gzip
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import polars as pl

from benchmarks.ladder.table import Cost, Row, measure, middle, show, work
from recprune.data.events import DayOfEvents, write_events
from recprune.data.partition import About, fill_partition
from recprune.data.sources.criteo import CriteoSource
from recprune.data.sources.file_settings import CriteoSettings

ROWS, TURNS = 5_000_000, 3
GOAL, MEMORY = 0.8, 1500.0


def main() -> None:
    """Print the table."""
    if work({"ours": ours, "polars": polars}):
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        show(rungs(rows, Path(folder)), f"ingest, {rows:,} rows")


def rungs(rows: int, folder: Path) -> list[Row]:
    """Measure, with files in a folder; returns the rows of the ladder."""
    found = []
    for path in criteo_files(folder, rows):
        costs = {name: [measure(__spec__.name, name, str(path))] for name in ("polars", "ours")}
        for _ in range(TURNS - 1):
            for name, seen in costs.items():
                seen.append(measure(__spec__.name, name, str(path)))
        what = f"ingest, {path.suffix.removeprefix('.')}"
        found += _figures(what, rows, middle(costs["ours"]), middle(costs["polars"]))
    return found


def _figures(what: str, rows: int, ours: Cost, polars: Cost) -> list[Row]:
    """Compare ours with Polars, which merely reads."""
    speeds = [rows / cost.wall for cost in (ours, polars)]
    each = [1e6 * cost.cpu / rows for cost in (ours, polars)]
    return [
        Row(f"{what}: rows/s (peer: Polars reads)", *speeds, None, speeds[0] / speeds[1], f"≥ {GOAL}"),
        Row(f"{what}: processor seconds of 1M rows", *each, None, each[1] / each[0], "–"),
        Row(f"{what}: peak memory, MB", ours.peak, polars.peak, None, None, f"≤ {MEMORY:g}"),
    ]


def criteo_files(folder: Path, rows: int) -> list[Path]:
    """Write the rows, plain and packed, if they are not there."""
    plain, packed = folder / "rows.tsv", folder / "rows.gz"
    if packed.exists():
        return [plain, packed]
    days = max(1, rows // 1_000_000)
    command = [sys.executable, "-m", "recprune", "simulate", str(plain), "--days", str(days)]
    subprocess.run([*command, "--rows", str(rows // days)], check=True, capture_output=True)
    with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as out:
        shutil.copyfileobj(source, out, 1 << 20)
    return [plain, packed]


def polars(path: str) -> None:
    """Read the file."""
    pl.read_csv(path, separator="\t", has_header=False)


def ours(path: str, to: str | None = None) -> None:
    """Take the file as a day, from bytes to the artefact, which is kept if there is a folder for it."""
    source = CriteoSource(CriteoSettings(path=path))
    day, _ = source.span()
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as aside:
        folder = Path(to or aside)
        fill_partition(partial(_write, source), str(day), folder / "events", folder / "rejected")


def _write(source: CriteoSource, folder: Path) -> tuple[DayOfEvents, About]:
    day, schema = source.span()[0], source.schema()
    found = write_events(source.read(day), schema, day, folder, text=True)
    return found, About(schema=schema, source=source.name)


if __name__ == "__main__":
    main()
