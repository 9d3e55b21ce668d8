"""Evaluate: candidate and champion through ONNX Runtime on rows that neither has learned."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.features import FeatureSet, calibrating_half
from recprune.data.partition import open_partition
from recprune.data.schema import Schema
from recprune.files import SCRATCH, manifest_digest, open_artefact, read_json, write_json
from recprune.gating.pool import Pool, Scored
from recprune.metrics import scores as metrics
from recprune.metrics.intervals import paired
from recprune.metrics.slices import HOUR, KNOWN, MOST_VALUES, NEW, hours, slices
from recprune.serving.latency import measure_latency
from recprune.serving.scorer import Scorer
from recprune.settings import EvaluateSettings, Settings


def evaluate(
    settings: Settings,
    *,
    day: str,
    champion_day: str,
    bundle: Path,
    champion: Path,
    events: Path,
    features: Path,
    next_day: Path,
    parent_pooled: Path,
    report: Path,
    measurements: Path,
    pooled: Path,
) -> None:
    """Write the metrics of both bundles, the measured latencies, and the scores that rules may pool."""
    ours, theirs = Scorer(bundle), Scorer(champion)
    partition = open_partition(events, day)
    rows = partition.scan().collect()
    held_back = open_artefact(features, "features", day)["tail_rows"]
    open_artefact(next_day, "scores", day)
    scores = pl.read_parquet(next_day / "scores.parquet")
    names = [f.name for f in partition.schema.features]
    champion_whole = _score(theirs, rows, names)
    at = np.arange(len(rows) - held_back, len(rows))
    at = at[~calibrating_half(rows["row_hash"].to_numpy()[at])] if held_back else at
    gating = rows[at]
    p_ours, p_theirs = _score(ours, gating, names), _score(theirs, gating, names)
    label = gating["label"].to_numpy().astype(np.float64)
    whole = {"champion": champion_whole} | {c.removeprefix("p_"): scores[c].to_numpy() for c in scores.columns[2:]}
    today = rows["label"].to_numpy().astype(np.float64)
    columns = _sliced(rows, features, partition.schema)
    found = {
        "day": day,
        "champion_day": champion_day,
        "next_day": _metrics(today, whole),
        "tail": _metrics(label, {"candidate": p_ours, "champion": p_theirs}),
        "line": _line(today, scores["p_served"].to_numpy(), champion_whole),
        "slices": slices(today, whole, columns),
        "bytes": {"candidate": ours.manifest["bytes"], "champion": theirs.manifest["bytes"]},
        "parity": ours.manifest["parity"],
        "rounding": ours.manifest["rounding"],
        "inputs_unchanged": ours.manifest["inputs"] == theirs.manifest["inputs"],
        "delivered": {"candidate": ours.manifest["delivered"], "champion": theirs.manifest["delivered"]},
    }
    write_json(report, found)
    gated = [(name, values[at]) for name, values in columns]
    scored = [Scored(kind="tail", label=label, served=p_ours, champion=p_theirs, columns=gated)]
    new_line, parent = ours.manifest["new_line"], open_artefact(parent_pooled, "pooled")["day"]
    if parent != champion_day and not new_line:  # else the two are one model, and their differences say nothing
        served = scores["p_served"].to_numpy()
        scored.append(Scored(kind="next_day", label=today, served=served, champion=champion_whole, columns=columns))
    # a new line, after a restart or a takeover, must not be judged by the line that it replaced
    before = Pool.empty() if new_line else Pool.read(parent_pooled)
    before.and_day(day, champion_day, scored).write(pooled, day)
    write_json(measurements, _measured(day, bundle, champion, ours, theirs, rows.select(names), settings.evaluate))


def _score(scorer: Scorer, rows: pl.DataFrame, names: list[str]) -> NDArray[np.float64]:
    """Return a bundle's probabilities as the log has them, which may lack negative rows."""
    if rows.is_empty():
        return np.zeros(0)
    p = scorer.score({name: rows[name].to_numpy() for name in names}).astype(np.float64)
    return metrics.of_the_log(p, scorer.manifest.get("negative_sampling_rate", 1.0))


def _metrics(label: NDArray[np.float64], predictions: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Return rows, base rate and each model's NE, AUC and calibration; null where they are not defined."""
    return {
        "rows": len(label),
        "base_rate": _number(float(np.mean(label))) if len(label) else None,
        "ne": {name: _number(metrics.normalized_entropy(label, p)) for name, p in predictions.items()},
        "auc": {name: _number(metrics.auc(label, p)) for name, p in predictions.items()},
        "calibration": {name: _number(metrics.calibration(label, p)) for name, p in predictions.items()},
    }


def _line(label: NDArray[np.float64], served: NDArray[np.float64], champion: NDArray[np.float64]) -> dict[str, Any]:
    """Compare the served line with the champion on the whole day, before the line learned it."""
    return paired(metrics.log_losses(label, served), metrics.log_losses(label, champion)).to_json()


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _sliced(rows: pl.DataFrame, features: Path, schema: Schema) -> list[tuple[str, pl.Series]]:
    """Return what to slice by: hours, features that have few values, and for the others whether the id is new."""
    found = [(HOUR, hours(rows["event_time"]))]
    score = FeatureSet.load(features / "score")
    for position, feature in enumerate(schema.categorical):
        values = rows[feature.name]
        if values.n_unique() <= MOST_VALUES:
            found.append((feature.name, values))
        else:
            seen = np.where(np.asarray(score.ids[:, position]) > 0, KNOWN, NEW)
            found.append((f"{feature.name}, id", pl.Series(seen)))
    return found


def _measured(
    day: str,
    bundle: Path,
    champion: Path,
    ours: Scorer,
    theirs: Scorer,
    rows: pl.DataFrame,
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """Measure once; a resumed evaluation of the same two bundles under the same settings reuses the values."""
    asked = repr((manifest_digest(bundle), manifest_digest(champion), settings))
    kept = SCRATCH / day / f"latency-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"
    if kept.exists():
        return dict(read_json(kept))
    scorers = {"candidate": ours, "champion": theirs}
    columns = {name: rows[name].to_numpy() for name in rows.columns}
    found = measure_latency(scorers, columns, settings.batches, settings.repeats)
    write_json(kept, {"day": day, **found})
    return {"day": day, **found}
