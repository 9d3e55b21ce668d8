"""Export: the served network as ONNX, raw values in, `p_click` out; parity with torch on real rows."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recprune.data.features import FeatureSet, calibrating_half, encode
from recprune.data.partition import open_partition
from recprune.data.schema import MISSING_INT, MISSING_STRING, Schema
from recprune.data.vocabulary import Vocabulary
from recprune.environment import environment
from recprune.files import artefact, open_artefact
from recprune.lowering.calibrate import fit_offset
from recprune.lowering.card import model_card
from recprune.lowering.graph import build_graph
from recprune.lowering.measured import measured_time
from recprune.lowering.parity import scores
from recprune.lowering.write import write_model
from recprune.metrics.scores import probability
from recprune.model.checkpoint import load_lines
from recprune.model.threads import use_threads
from recprune.pruning.budget import budget_for
from recprune.serving.sample import ROWS, write_sample
from recprune.serving.signature import SIGNING_KEY, configured, sign
from recprune.settings import Settings
from recprune.training.scoring import score

PARITY_ROWS = 2000
_STRANGE: dict[str, tuple[float | int | str, float | int | str]] = {
    "float32": (float("nan"), float("inf")),
    "int64": (MISSING_INT, -7),
    "string": (MISSING_STRING, "never seen before"),
}
"""Per type a missing value and one that no event has."""


def export(
    settings: Settings,
    *,
    day: str,
    pruned: Path,
    vocabulary: Path,
    features: Path,
    events: Path,
    bundle: Path,
) -> None:
    """Write `model.onnx`, its manifest and its model card."""
    use_threads(settings.train.threads)
    lines, lineage = load_lines(pruned, day)
    partition, about = open_partition(events, day), open_artefact(features, "features", day)
    schema = Schema.from_json(about["schema"])
    known, line = Vocabulary.load(vocabulary, schema), lines["served"]
    tail = FeatureSet.load(features / "tail")
    half = tail.rows(np.flatnonzero(calibrating_half(np.asarray(tail.row_hash))))
    offset = fit_offset(np.asarray(half.label), score(line, half), settings.export.calibration_prior)
    graph = build_graph(line, known, schema, offset)
    rows = parity_rows(partition.scan().tail(PARITY_ROWS).collect(), schema)
    expected = probability(score(line, encode(rows, schema, known)) + offset)
    measured, table = measured_time(settings.prune, schema)
    budget = budget_for(lines["dense"].shape, settings.prune, measured)
    manifest: dict[str, Any] = describe_inputs(schema) | {
        "calibration_offset": offset,
        "precision": settings.export.precision,
        "flops": {"dense": lines["dense"].shape.flops(), "served": line.shape.flops()},
        "budget": settings.prune.budget,
        "asked": budget.share,
        "delivered": budget.of(line.shape) / budget.dense,
        "cost": budget.cost.unit,
        **table,
        "widths": line.shape.widths(),
        "vocabulary": dict(zip(line.shape.categorical, line.sizes, strict=True)),
        "finite": lineage["finite"],
        "new_line": lineage["new_line"],
        "environment": environment(settings.train.threads),
    }
    with artefact(bundle, "bundle", day, manifest) as folder:
        file, raw = folder / "model.onnx", rows.select(f.name for f in schema.features)
        manifest["parity"] = write_model(graph, file, settings.export.precision, raw, expected)
        manifest["bytes"] = file.stat().st_size
        [p_click] = scores(file, raw, [slice(0, ROWS)])
        write_sample(folder, {name: raw[name][:ROWS].to_numpy() for name in raw.columns}, p_click)
        (folder / "README.md").write_text(model_card(day, manifest, partition.counts), encoding="utf-8")
    if key := configured(SIGNING_KEY):
        sign(bundle, key)


def describe_inputs(schema: Schema) -> dict[str, Any]:
    """Say what the graph takes and gives, for whoever serves it."""
    missing = {"float32": "NaN", "int64": MISSING_INT, "string": MISSING_STRING}
    inputs = [
        {"name": f.name, "type": f.type, "dtype": f.dtype, "per": f.per, "missing": missing[f.dtype]}
        for f in schema.features
    ]
    return {"inputs": inputs, "output": "p_click", "schema": schema.to_json()}


def parity_rows(events: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the last events; of every second one, a fifth of the values missing, a fifth unknown."""
    rows = events.tail(PARITY_ROWS).with_row_index("@n")
    for i, feature in enumerate(schema.features):
        n, value = pl.col("@n") // 2 + i, pl.col(feature.name)
        missing, unknown = _STRANGE[feature.dtype]
        changed = pl.when(n % 5 == 0).then(pl.lit(missing)).when(n % 4 == 0).then(pl.lit(unknown)).otherwise(value)
        touched = pl.when(pl.col("@n") % 2 == 0).then(changed).otherwise(value)
        rows = rows.with_columns(touched.cast(rows.schema[feature.name]).alias(feature.name))
    return rows
