"""Gate: every rule with value, interval, limit, verdict and reason; promote unless harm is proved."""

from pathlib import Path
from typing import Any

import polars as pl

from recprune.data.verdict import refuse_quarantined
from recprune.files import open_artefact, read_json, write_json
from recprune.gating.rules import Evidence, verdict
from recprune.settings import Settings


def gate(
    settings: Settings,
    *,
    day: str,
    validation: Path,
    prune_report: Path,
    evaluation: Path,
    measurements: Path,
    pooled: Path,
    report: Path,
    metrics: Path,
) -> None:
    """Write the day's verdict and its undated metrics."""
    refuse_quarantined(validation, day)
    pruned, found = read_json(prune_report), read_json(evaluation)
    open_artefact(pooled, "pooled", day)
    pool = pl.read_parquet(pooled / "pooled.parquet")
    seen = Evidence(day=day, pruned=pruned, evaluation=found, measurements=read_json(measurements), pool=pool)
    told = verdict(seen, settings.gate) | {"latency": measurements.name}
    write_json(report, told)
    write_json(metrics, _metrics(day, pruned, found, told))


def _metrics(day: str, pruned: dict[str, Any], found: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Return the day's headline numbers, for `dvc metrics diff`."""
    return {
        "day": day,
        "verdict": told["verdict"],
        "champion_day": found["champion_day"],
        "rows": found["next_day"]["rows"],
        "base_rate": found["next_day"]["base_rate"],
        "ne": found["next_day"]["ne"],
        "auc": found["next_day"]["auc"],
        "prune_tax": pruned["tax"]["difference"],
        "flops_kept": pruned["delivered"],
        "bytes": found["bytes"]["candidate"],
    }
