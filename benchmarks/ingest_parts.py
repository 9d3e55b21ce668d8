"""A day of several files, read at once, and in two parts at the same time that are then put together.

Use: `python -m benchmarks.ingest_parts [ROWS [FILES]]`.

Each way is a process of its own (two, for the parts), start included, by turns, medians of three: seconds by the clock,
and processor seconds of the process that needs most, which other work on the machine changes little. First each
process may use both cores; then one core each, as on workers of one core. The bytes are compared.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recprune.data.sources.file_settings import FilesSettings
from recprune.settings import FeatureSettings, IngestSettings, SchemaSettings, read_settings

DAY, ROWS, FILES, REPEATS = "2024-01-05", 1_000_000, 8, 3
EVENTS, REJECTED = Path("data/events", DAY), Path("data/rejected", DAY)
IDS, TEXTS, NUMBERS = [f"i{n}" for n in range(6)], [f"s{n}" for n in range(6)], [f"n{n}" for n in range(4)]
WAYS = {"at once": ["whole"], "two parts": ["part 1/2", "part 2/2"], "put together": ["whole"]}
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print the table, or be one of the processes."""
    if sys.argv[1:2] == ["--do"]:
        work(*sys.argv[2:])
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    files = int(sys.argv[2]) if len(sys.argv) > 2 else FILES
    say(f"{rows:,} rows in {files} files of {len(IDS + TEXTS + NUMBERS) + 3} columns; by the clock (of a processor)")
    say("format   cores " + "".join(f"{way:>16}" for way in (*WAYS, "both")))
    for format_ in ("jsonl", "csv", "parquet"):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            shutil.copy(ROOT / "params.yaml", "params.yaml")
            for number in range(files):
                write(number, files, rows // files, format_)
            for cores in ([0, 1], [0]):
                took = measure(format_, cores)
                took["both"] = took["two parts"] + took["put together"]
                cells = (f"{wall:.1f} ({processor:.1f})" for wall, processor in took.values())
                say(f"{format_:<9}{len(cores):>5} " + "".join(f"{cell:>16}" for cell in cells))


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def write(number: int, files: int, rows: int, format_: str) -> None:
    """Write one file of a day, which goes on in time from the one before."""
    draw = np.random.default_rng(number)
    length = 86_400_000_000 // files
    at = np.sort(draw.integers(number * length, (number + 1) * length, rows))
    frame = pl.DataFrame(
        {"request": [f"r{number}-{n}" for n in range(rows)], "click": (draw.random(rows) < 0.2).astype(np.int8)}
        | {name: draw.zipf(1.2, rows) % 100_000 for name in IDS}
        | {name: pl.Series(draw.zipf(1.2, rows) % 100_000).cast(pl.String) + "x" for name in TEXTS}
        | {name: draw.normal(size=rows) for name in NUMBERS}
    ).with_columns(at=pl.Series(at).cast(pl.Duration("us")) + datetime.fromisoformat(DAY))
    path = Path("logs", f"{DAY}-{number:03d}")
    path.parent.mkdir(exist_ok=True)
    text = frame.with_columns(pl.col("at").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ"))
    writers: dict[str, Callable[[Path], object]] = {
        "parquet": frame.write_parquet,
        "csv": text.write_csv,
        "jsonl": text.write_ndjson,
    }
    writers[format_](path)


def measure(format_: str, cores: Sequence[int]) -> dict[str, Any]:
    """Return seconds by way, by the clock and of a processor (2,): medians."""
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    digests = set()
    for _ in range(REPEATS):
        for folder in ("data", "scratch"):
            shutil.rmtree(folder, ignore_errors=True)
        for way, processes in WAYS.items():
            began = time.monotonic()
            at_work = [start(format_, what, [*cores] if len(cores) > 1 else [n]) for n, what in enumerate(processes)]
            ended = [os.wait4(pid, 0) for pid in at_work]
            if any(status for _, status, _ in ended):
                raise SystemExit(f"{way} failed")
            most = max(used.ru_utime + used.ru_stime for _, _, used in ended)
            took[way].append((time.monotonic() - began, most))
            if processes == ["whole"]:
                digests.add(digest())
    if len(digests) != 1:
        raise SystemExit("the bytes differ")
    return {way: np.median(found, axis=0) for way, found in took.items()}


def start(format_: str, what: str, cores: Sequence[int]) -> int:
    """Start one process on some cores; return its id."""
    command = [sys.executable, "-m", "benchmarks.ingest_parts", "--do", format_, what]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": str(len(cores))}
    pinned = ["taskset", "--cpu-list", ",".join(map(str, cores)), *command]
    return os.posix_spawnp(pinned[0], pinned, environment)


def digest() -> str:
    """Return the digest of what `ingest` wrote."""
    files = sorted(path for folder in (EVENTS, REJECTED) for path in folder.iterdir())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def work(format_: str, what: str) -> None:
    """Read the day, or a part of it."""
    from recprune.steps.ingest import ingest, ingest_part

    features = {name: FeatureSettings(type="int64") for name in IDS}
    features |= {name: FeatureSettings(type="string") for name in TEXTS}
    features |= {name: FeatureSettings(type="numeric") for name in NUMBERS}
    files = FilesSettings(path="logs/{day}*", format=format_, first_day=DAY)  # type: ignore[arg-type]
    schema = SchemaSettings(negative_sampling_rate=1.0, label="click", time="at", key=("request",), features=features)
    packaged = read_settings(Path())
    source: IngestSettings = replace(packaged.ingest, source="files", files=files)
    settings = replace(packaged, ingest=source, schema=schema)
    if what == "whole":
        ingest(settings, day=DAY, events=EVENTS, rejected=REJECTED)
    else:
        part, parts = what.removeprefix("part ").split("/")
        ingest_part(settings, day=DAY, part=int(part), parts=int(parts), events=Path("not yet"))


if __name__ == "__main__":
    main()
