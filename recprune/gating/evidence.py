"""What the gate's rules judge by, as the steps of the day left it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recprune.files import open_artefact, read_json

POOLED = "pooled.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the rules judge by."""

    day: str
    pruned: dict[str, Any]
    """The day's `prune.json`."""
    evaluation: dict[str, Any]
    measurements: dict[str, Any]
    pool: pl.DataFrame
    """Losses of served line and champion on rows that neither had learned, of this day and earlier ones."""

    @property
    def champion(self) -> str:
        """Return the day of the champion that the candidate meets."""
        return str(self.evaluation["champion_day"])


def read_evidence(day: str, *, prune_report: Path, evaluation: Path, measurements: Path, pooled: Path) -> Evidence:
    """Read a day's evidence.

    Raises:
        DamagedArtefactError: a file is missing or was changed.
    """
    open_artefact(pooled, "pooled", day)
    return Evidence(
        day=day,
        pruned=read_json(prune_report),
        evaluation=read_json(evaluation),
        measurements=read_json(measurements),
        pool=pl.read_parquet(pooled / POOLED),
    )
