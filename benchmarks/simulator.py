"""Rows a second of the simulator, from settings to record batches or to a file: python benchmarks/simulator.py."""

import gzip
import io
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from importlib.resources import files
from typing import Any

import pyarrow as pa
import yaml
from rich.console import Console
from rich.table import Table

from recprune.config import parse_settings
from recprune.data.simulator.criteo import criteo_settings, write_criteo
from recprune.data.simulator.settings import SimulatorSettings
from recprune.data.sources.simulator import SimulatorSource

ROWS = 1_000_000
FIRST = date(2024, 1, 1)


def default_settings() -> SimulatorSettings:
    """Return the simulator's settings of a new workspace, with more rows."""
    params = yaml.safe_load(files("recprune").joinpath("templates/params.yaml.template").read_text(encoding="utf-8"))
    return replace(parse_settings(SimulatorSettings, params["ingest"]["simulator"], "params.yaml"), rows=ROWS)


def seconds_to_read(settings: SimulatorSettings, age: int) -> float:
    """Return the time that a day takes in a fresh source, its replay from the first day included."""
    start = time.process_time()
    for _ in SimulatorSource(settings).read(FIRST + timedelta(days=age)):
        pass
    return time.process_time() - start


def seconds_to_write(settings: SimulatorSettings) -> tuple[float, bytes]:
    """Return the time that a day in the Criteo layout takes, from settings to text, and the text."""
    out, start = io.BytesIO(), time.process_time()
    write_criteo((batch.rows for batch in SimulatorSource(settings).read(FIRST)), out)
    return time.process_time() - start, out.getvalue()


def packers() -> dict[str, Callable[[bytes], Any]]:
    """Return what packs a text, by name."""
    gzips = {f"gzip -{n}": partial(gzip.compress, compresslevel=n) for n in (1, 6, 9)}
    return gzips | {f"zstd -{n}": pa.Codec("zstd", compression_level=n).compress for n in (1, 3)}


def main() -> None:
    """Print the table."""
    default = default_settings()
    criteo = replace(criteo_settings(default), informative=26, ids=10_000)
    table = Table("settings", "day", "rows", "seconds", "rows/s")
    for name, settings, age in (
        ("default", default, 0),
        ("default", default, 365),
        ("default, a small day", replace(default, rows=4000), 365),
        ("26 + 13 features, 10,000 ids", criteo, 0),
        ("26 + 13 features, 10,000 ids", criteo, 28),
    ):
        seconds = seconds_to_read(settings, age)
        table.add_row(name, str(age), f"{settings.rows:,}", f"{seconds:.2f}", f"{settings.rows / seconds:,.0f}")
    seconds, text = seconds_to_write(criteo)
    table.add_row("26 + 13 features, as Criteo text", "0", f"{ROWS:,}", f"{seconds:.2f}", f"{ROWS / seconds:,.0f}")
    Console().print(table)
    table = Table("the text packed alone", "bytes a row", "rows/s")
    part = text[: len(text) // 5]
    rows = part.count(b"\n")
    for name, pack in packers().items():
        start = time.process_time()
        size = len(pack(part))
        table.add_row(name, f"{size / rows:.1f}", f"{rows / (time.process_time() - start):,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
