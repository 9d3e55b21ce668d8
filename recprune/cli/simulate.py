"""`recprune simulate`: days of the simulator as one file in the Criteo layout, to try a network and a disk on."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from recprune.cli.terminal import Terminal

if TYPE_CHECKING:
    from recprune.data.simulator.criteo import Writer

out = Terminal(soft_wrap=True)
_GZIP_LEVEL = 1
"""Higher ones save a tenth of the bytes and take several times as long as all the rest."""


def simulate(
    file: Annotated[Path, typer.Argument(help="Written, replaced as a whole; packed if its name ends in .gz or .zst.")],
    days: Annotated[int, typer.Option(min=1, help="Days, in order, one after the other.")] = 7,
    rows: Annotated[int, typer.Option(min=1, help="Rows a day.")] = 200_000,
) -> None:
    """Write days of the simulator in the Criteo layout: label, 13 numbers, 26 ids of 8 hexadecimal digits, by tabs.

    Seed and drift are those of params.yaml, or of a new workspace where there is none. The same settings give the same
    rows on any machine.
    """
    from recprune.config import parse_settings
    from recprune.data.simulator.criteo import criteo_settings, write_criteo
    from recprune.data.sources.simulator import SimulatorSource
    from recprune.settings import Settings, read_settings

    if Path("params.yaml").is_file():
        settings = read_settings(Path())
    else:
        packaged = files("recprune") / "templates" / "params.yaml.template"
        settings = parse_settings(Settings, yaml.safe_load(packaged.read_text(encoding="utf-8")), "params.yaml")
    source = SimulatorSource(replace(criteo_settings(settings.ingest.simulator), rows=rows))
    first, written = source.span()[0], 0
    aside = file.with_name(f"{file.name}.part")
    try:
        with _packed(aside, file.suffix) as opened:
            for n in range(days):
                batches = (batch.rows for batch in source.read(first + timedelta(days=n)))
                written += write_criteo(batches, opened)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    out.print(f"{file}: {written:,} rows, {days} days of {rows:,}")


@contextmanager
def _packed(path: Path, suffix: str) -> "Iterator[Writer]":
    """Open a file for bytes that are packed as a name's end says."""
    import pyarrow as pa

    if suffix == ".gz":
        with gzip.GzipFile(path, "wb", compresslevel=_GZIP_LEVEL, mtime=0) as opened:
            yield opened
    elif suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as opened:
            yield opened
    else:
        with path.open("wb") as opened:
            yield opened
