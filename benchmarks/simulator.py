"""Rows a second of the simulator, from settings to record batches: python benchmarks/simulator.py."""

import time
from dataclasses import replace
from datetime import date, timedelta
from importlib.resources import files

import yaml
from rich.console import Console
from rich.table import Table

from recprune.config import parse_settings
from recprune.data.sources.simulator import SimulatorSource
from recprune.settings import SimulatorSettings

ROWS = 1_000_000
FIRST = date(2024, 1, 1)


def default_settings() -> SimulatorSettings:
    """Return the simulator's settings of a new workspace, with more rows."""
    params = yaml.safe_load(files("recprune").joinpath("templates/params.yaml.template").read_text(encoding="utf-8"))
    return replace(parse_settings(SimulatorSettings, params["ingest"]["simulator"], "params.yaml"), rows=ROWS)


def seconds_to_read(settings: SimulatorSettings, age: int) -> float:
    """Return the time that a day takes in a fresh source, its replay from the first day included."""
    start = time.perf_counter()
    for _ in SimulatorSource(settings).read(FIRST + timedelta(days=age)):
        pass
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    default = default_settings()
    criteo = replace(default, categorical=26, numeric=13, informative=26, ids=10_000)
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
    Console().print(table)


if __name__ == "__main__":
    main()
