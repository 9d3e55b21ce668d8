"""What a day hands on of its scores: losses and sums by slice, for rules that a day alone cannot decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.files import artefact, open_artefact
from recprune.metrics.scores import log_losses
from recprune.metrics.sums import SCHEMA, sums_table

POOLED, SUMS = "pooled.parquet", "sums.parquet"
POOL_DAYS = 14
_LOSSES: dict[str, Any] = {
    "day": pl.String,
    "champion_day": pl.String,
    "rows": pl.String,
    "served": pl.Float64,
    "champion": pl.Float64,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Rows of a day that served line and champion scored before either learned them, in order of time."""

    kind: Literal["tail", "next_day"]
    label: NDArray[np.float64]
    served: NDArray[np.float64]
    champion: NDArray[np.float64]
    columns: Sequence[tuple[str, pl.Series]]
    """What to slice by: name, and a value per row."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Losses of both on rows of the last days, and sums over the same rows by slice."""

    losses: pl.DataFrame
    sums: pl.DataFrame

    @classmethod
    def empty(cls) -> Self:
        """Return a pool without rows, for the first day's parent and a new line."""
        return cls(pl.DataFrame(schema=_LOSSES), pl.DataFrame(schema=SCHEMA))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a pool; sums that an earlier version of recprune did not write begin with this day.

        Raises:
            DamagedArtefactError: a file is missing or was changed.
        """
        open_artefact(path, "pooled")
        sums = pl.read_parquet(path / SUMS) if (path / SUMS).exists() else pl.DataFrame(schema=SCHEMA)
        return cls(pl.read_parquet(path / POOLED), sums)

    def write(self, path: Path, day: str) -> None:
        """Write it as a day's artefact."""
        days = sorted(set(self.losses["day"].to_list()))
        with artefact(path, "pooled", day, {"days": days}) as folder:
            self.losses.write_parquet(folder / POOLED)
            self.sums.write_parquet(folder / SUMS)

    def and_day(self, day: str, champion: str, rows: Sequence[Scored]) -> "Pool":
        """Return the pool with a day's rows, and without those that are too old now."""
        days = sorted({*self.losses["day"].to_list(), day})[-POOL_DAYS:]
        old = [table.filter(pl.col("day").is_in(days)) for table in (self.losses, self.sums)]
        losses = [_losses(day, champion, each) for each in rows]
        sums = [sums_table(day, each.kind, each.label, (each.served, each.champion), each.columns) for each in rows]
        return Pool(pl.concat([old[0], *losses]), pl.concat([old[1], *sums]))


def _losses(day: str, champion: str, rows: Scored) -> pl.DataFrame:
    found = {name: log_losses(rows.label, p) for name, p in (("served", rows.served), ("champion", rows.champion))}
    about = {"day": day, "champion_day": champion, "rows": rows.kind}
    table = pl.DataFrame(found, schema=dict.fromkeys(found, pl.Float64))
    return table.select(*(pl.lit(value).alias(name) for name, value in about.items()), *found)
