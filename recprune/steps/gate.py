"""Gate: every rule with value, interval, limit, verdict and reason; promote unless harm is proved."""

from pathlib import Path
from typing import Any

from recprune.data.verdict import refuse_quarantined
from recprune.files import understood, write_json
from recprune.gating.evidence import Evidence, MissingNumberError, read_evidence
from recprune.gating.rules import verdict
from recprune.settings import Settings


def gate(
    settings: Settings,
    *,
    day: str,
    validation: Path,
    prune_report: Path,
    evaluation: Path,
    measurements: Path,
    delivered: Path,
    pooled: Path,
    report: Path,
    metrics: Path,
) -> None:
    """Write the day's verdict and its undated metrics."""
    refuse_quarantined(validation, day)
    seen = read_evidence(
        day,
        prune_report=prune_report,
        evaluation=evaluation,
        measurements=measurements,
        validation=validation,
        delivered=delivered,
        pooled=pooled,
    )
    with understood(evaluation.parent):  # numbers that no day has overflow, or are none any more
        told = verdict(seen, settings.gate) | {"latency": measurements.name}
        write_json(report, told)
    write_json(metrics, _metrics(seen, told))


def _metrics(seen: Evidence, told: dict[str, Any]) -> dict[str, Any]:
    """Return the day's headline numbers, for `dvc metrics diff`; null where a file has none, which a rule has told."""
    paths: dict[str, tuple[str, ...]] = {
        "rows": ("evaluation", "next_day", "rows"),
        "base_rate": ("evaluation", "next_day", "base_rate"),
        "ne": ("evaluation", "next_day", "ne"),
        "auc": ("evaluation", "next_day", "auc"),
        "prune_tax": ("pruned", "tax", "difference"),
        "flops_kept": ("pruned", "delivered"),
        "bytes": ("evaluation", "bytes", "candidate"),
    }
    return {
        "day": seen.day,
        "verdict": told["verdict"],
        "champion_day": told["champion_day"],
        **{name: _there(seen, *path) for name, path in paths.items()},
    }


def _there(seen: Evidence, *path: str) -> Any:
    try:
        return seen.value(*path)
    except MissingNumberError:
        return None
