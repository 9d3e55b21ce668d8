"""Export: the served network lowered to ONNX, raw values in, `p_click` out; parity with torch proved on real rows."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import torch
from numpy.typing import NDArray

from recprune.data.features import FeatureSet, calibrating_half, encode
from recprune.data.partition import open_partition
from recprune.data.schema import MISSING_INT, MISSING_STRING, Schema
from recprune.data.vocabulary import Vocabulary
from recprune.environment import environment
from recprune.errors import RecpruneError
from recprune.files import artefact, open_artefact
from recprune.lowering.calibrate import fit_offset
from recprune.lowering.card import model_card
from recprune.lowering.graph import build_graph
from recprune.lowering.int8 import quantize
from recprune.lowering.parity import largest_difference
from recprune.metrics.scores import probability
from recprune.model.checkpoint import load_lines
from recprune.settings import Settings
from recprune.training.scoring import score

PARITY_ROWS = 2000


def export(
    settings: Settings, *, day: str, pruned: Path, vocabulary: Path, features: Path, events: Path, bundle: Path
) -> None:
    """Write `model.onnx`, its manifest and its model card."""
    torch.set_num_threads(settings.train.threads)
    lines, lineage = load_lines(pruned, day)
    partition, about = open_partition(events, day), open_artefact(features, "features", day)
    schema = Schema.from_json(about["schema"])
    known, line = Vocabulary.load(vocabulary, schema), lines["served"]
    tail = FeatureSet.load(features / "tail")
    half = tail.rows(np.flatnonzero(calibrating_half(np.asarray(tail.row_hash))))
    offset = fit_offset(np.asarray(half.label), score(line, half), settings.export.calibration_prior)
    model = build_graph(line, known, schema, offset)
    rows = parity_rows(partition.scan().collect(), schema)
    expected = probability(score(line, encode(rows, schema, known)) + offset)
    manifest: dict[str, Any] = describe_inputs(schema) | {
        "calibration_offset": offset,
        "precision": settings.export.precision,
        "flops": {"dense": lines["dense"].shape.flops(), "served": line.shape.flops()},
        "asked": settings.prune.budget,
        "delivered": line.shape.flops() / lines["dense"].shape.flops(),
        "widths": line.shape.widths(),
        "vocabulary": dict(zip(line.shape.categorical, line.sizes, strict=True)),
        "finite": lineage["finite"],
        "environment": environment(settings.train.threads),
    }
    with artefact(bundle, "bundle", day, manifest) as folder:
        manifest |= _write_model(model, folder, settings, rows.select(f.name for f in schema.features), expected)
        manifest["bytes"] = (folder / "model.onnx").stat().st_size
        (folder / "README.md").write_text(model_card(day, manifest, partition.counts), encoding="utf-8")


def _write_model(
    model: onnx.ModelProto, folder: Path, settings: Settings, rows: pl.DataFrame, expected: NDArray[np.float64]
) -> dict[str, Any]:
    """Write the graph, prove its parity, and lower it further if asked; returns what was measured."""
    file = folder / "model.onnx"
    onnx.save(model, file)
    parity = largest_difference(file, rows, expected)
    if not np.isfinite(parity):
        raise RecpruneError(f"the exported graph gives values that are not finite on {len(rows)} real rows: {file}")
    found: dict[str, Any] = {"parity": {"fp32": parity, "rows": len(rows)}}
    if settings.export.precision == "int8":
        fp32 = file.rename(folder / "fp32.onnx")
        quantize(fp32, file)
        found["parity"]["int8"] = largest_difference(file, rows, expected)
        fp32.unlink()
    return found


def describe_inputs(schema: Schema) -> dict[str, Any]:
    """Say what the graph takes and gives, for whoever serves it."""
    missing = {"float32": "NaN", "int64": MISSING_INT, "string": MISSING_STRING}
    inputs = [
        {"name": f.name, "type": f.type, "dtype": f.dtype, "per": f.per, "missing": missing[f.dtype]}
        for f in schema.features
    ]
    return {"inputs": inputs, "output": "p_click", "schema": schema.to_json()}


def parity_rows(events: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return real rows, the day's last ones, each fourth with an unknown id and each fifth with missing values."""
    rows = events.tail(PARITY_ROWS).with_row_index("n")
    for i, feature in enumerate(schema.features):
        odd, gone = (pl.col("n") + i) % 4 == 0, (pl.col("n") + i) % 5 == 0
        if feature.type == "numeric":
            changed = pl.when(gone).then(float("nan")).otherwise(pl.col(feature.name)).cast(pl.Float32)
        elif feature.dtype == "int64":
            changed = pl.when(gone).then(MISSING_INT).when(odd).then(-7).otherwise(pl.col(feature.name)).cast(pl.Int64)
        else:
            unknown = pl.lit("never seen before")
            changed = pl.when(gone).then(pl.lit(MISSING_STRING)).when(odd).then(unknown).otherwise(pl.col(feature.name))
        touched = pl.when(pl.col("n") % 2 == 0).then(changed).otherwise(pl.col(feature.name))
        rows = rows.with_columns(touched.alias(feature.name))
    return rows
