"""Export: the served network as ONNX, raw values in, `p_click` out; parity with torch on real rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recprune.data.features import FeatureSet, calibrating_half, encode
from recprune.data.partition import open_partition
from recprune.data.schema import Feature, Schema
from recprune.data.values import dtype_of
from recprune.data.vocabulary import Vocabulary
from recprune.environment import environment
from recprune.files import SCRATCH, artefact, manifest_digest, open_manifest, read_json, write_json
from recprune.lowering.card import model_card
from recprune.lowering.choose import Times, lowerings_file, ranked, smallest_of_equals, way_before
from recprune.lowering.delivered import asked_and_delivered, deliver
from recprune.lowering.external import save_model
from recprune.lowering.graph import Network
from recprune.lowering.inputs import describe_inputs, raw_values
from recprune.lowering.interaction import usual_lowering
from recprune.lowering.lower import Lowered, Seen, lower, parity, possible, rounding_facts
from recprune.lowering.lowering import Lowering
from recprune.lowering.measured import COSTS, measured_time
from recprune.lowering.parity import scores
from recprune.lowering.ready import ready_values
from recprune.lowering.session import feed, open_session
from recprune.model.checkpoint import load_lines
from recprune.model.line import Line
from recprune.model.threads import use_threads
from recprune.pruning.budget import budget_for
from recprune.serving.sample import ROWS, write_sample
from recprune.serving.signature import SIGNING_KEY, configured, sign
from recprune.settings import ExportSettings, Settings
from recprune.training.scoring import score

PARITY_ROWS = 2000
OBSERVED_ROWS = 30_000
"""Last events of the day, by which rounding is judged and from which the ranges of int8 are taken."""
_STRANGE: dict[str, float | int | str] = {"float32": float("inf"), "int64": -7, "string": "never seen before"}
"""Per type a value that no event has."""
_OF_LEARNING = ("device", "processes", "bfloat16")
"""What of the environment of `train` the bundle depends on, too."""


def export(
    settings: Settings,
    *,
    day: str,
    pruned: Path,
    vocabulary: Path,
    features: Path,
    events: Path,
    bundle: Path,
    measurements: Path,
) -> None:
    """Write `model.onnx`, its manifest and its model card, and what it delivers beside the dense network."""
    use_threads(settings.train.threads)
    lines, lineage = load_lines(pruned, day)
    partition, about = open_partition(events, day), open_manifest(features, "features", day)
    schema = Schema.from_json(about["schema"])
    known = Vocabulary.load(vocabulary, schema)
    network = Network(lines["served"], known, schema)
    observed = partition.scan().tail(max(OBSERVED_ROWS, about["tail_rows"])).collect()
    encoded = encode(observed, schema, known)
    lowered, times = _lowered(settings.export, network, observed, encoded, about["tail_rows"], day)
    rows = parity_rows(observed, schema)
    raw, learned = raw_values(rows, schema), lineage["environment"]
    manifest: dict[str, Any] = describe_inputs(schema) | {
        "calibration": {"kind": settings.export.calibration, **asdict(lowered.calibration)},
        "calibration_offset": lowered.mean_offset,
        "negative_sampling_rate": schema.negative_sampling_rate,
        "precision": lowered.lowering.layers,
        "lowering": asdict(lowered.lowering),
        **rounding_facts(lowered),
        **_budget(settings, lines, schema),
        "vocabulary": dict(zip(network.line.shape.categorical, network.line.sizes, strict=True)),
        "finite": lineage["finite"],
        "new_line": lineage["new_line"],
        "environment": environment(settings.train.threads, **{n: learned[n] for n in _OF_LEARNING if n in learned}),
    }
    with artefact(bundle, "bundle", day, manifest) as folder:
        file = folder / "model.onnx"
        manifest["bytes"] = save_model(lowered.model, file)
        logit = score(network.line, encode(rows, schema, known))
        session = open_session(file)
        manifest["parity"] = parity(network, lowered, session, raw, logit, folder=folder)
        [p_click] = scores(session, raw, [slice(0, ROWS)])
        write_sample(folder, feed(raw[:ROWS]), p_click)
        (folder / "README.md").write_text(model_card(day, manifest, partition.counts), encoding="utf-8")
    if key := configured(SIGNING_KEY):
        sign(bundle, key)
    dense = Network(lines["dense"], known, schema)
    kept = _measure(dense, network, bundle, raw_values(observed, schema), settings.export.batches)
    found = {"day": day, **read_json(kept), "ways": {"chosen": str(lowered.lowering), "us": times}}
    write_json(measurements, found)
    for sentence in asked_and_delivered(found):
        print(sentence)  # noqa: T201


def seen(network: Network, events: FeatureSet) -> Seen:
    """Return events with torch's logits of them."""
    return Seen(ready_values(events, network.line, network.schema), events.label, score(network.line, events))


def _lowered(
    settings: ExportSettings, network: Network, observed: pl.DataFrame, events: FeatureSet, tail_rows: int, day: str
) -> tuple[Lowered, Times]:
    """Return the model in the fastest way that is allowed, and what was measured."""
    ways, times = _ways(settings, network, raw_values(observed, network.schema))
    before = way_before(network, settings.batches, lowerings_file(COSTS)) if times else None
    order = partial(smallest_of_equals, times=times, before=before) if times else list
    half = np.arange(len(events) - tail_rows, len(events))
    half = half[calibrating_half(events.row_hash[half])]
    lowered = lower(
        network,
        ways,
        seen(network, events.rows(half)),
        seen(network, events),
        SCRATCH / day,
        order=order,
        kind=settings.calibration,
        prior=settings.calibration_prior,
        limit=settings.ne_limit,
    )
    if settings.precision not in ("auto", lowered.lowering.layers):
        print(f"{settings.precision} was asked; without rows to take ranges from the layers stay fp32.")  # noqa: T201
    return lowered, times


def _ways(settings: ExportSettings, network: Network, rows: pl.DataFrame) -> tuple[list[Lowering], Times]:
    """Return the ways that may be taken, the fastest first, and what was measured."""
    usual = usual_lowering(network.line.shape)
    if settings.precision != "auto":
        return possible([replace(usual, layers=settings.precision)], rows, network), {}
    if rows.is_empty():
        return [usual], {}
    return ranked(network, rows, settings.batches, lowerings_file(COSTS))


def _budget(settings: Settings, lines: Mapping[str, Line], schema: Schema) -> dict[str, Any]:
    """Return what was asked of the served network and what it has."""
    measured, table = measured_time(settings.prune, schema)
    dense, served = lines["dense"].shape, lines["served"].shape
    budget = budget_for(dense, settings.prune, measured)
    return {
        "flops": {"dense": dense.flops(), "served": served.flops()},
        "budget": settings.prune.budget,
        "asked": budget.share,
        "delivered": budget.of(served) / budget.dense,
        "cost": budget.cost.unit,
        **table,
        "widths": served.widths(),
    }


def delivered_file(bundle: Path) -> Path:
    """Return where it is kept within the day what a bundle takes and the dense network's export."""
    return SCRATCH / bundle.name / f"delivered-{manifest_digest(bundle)[:16]}.json"


def _measure(dense: Network, served: Network, bundle: Path, rows: pl.DataFrame, batches: Sequence[int]) -> Path:
    """Measure the bundle against the dense network's fp32 export, once: a resumed step reuses the values."""
    kept = delivered_file(bundle)
    if not kept.exists():
        write_json(kept, deliver(dense, served, bundle / "model.onnx", rows, batches, SCRATCH / bundle.name))
    return kept


def parity_rows(events: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the last events; of every second one, a fifth of the values missing, a fifth unknown."""
    rows = events.tail(PARITY_ROWS).with_row_index("@n")
    for i, feature in enumerate(schema.features):
        n, value = pl.col("@n") // 2 + i, pl.col(feature.name)
        missing, unknown = (_strange(feature, v) for v in (feature.missing, _STRANGE[feature.dtype]))
        changed = pl.when(n % 5 == 0).then(missing).when(n % 4 == 0).then(unknown).otherwise(value)
        touched = pl.when(pl.col("@n") % 2 == 0).then(changed).otherwise(value)
        rows = rows.with_columns(touched.cast(rows.schema[feature.name]).alias(feature.name))
    return rows


def _strange(feature: Feature, value: float | int | str) -> pl.Expr:
    """Return a value as the feature has it; of lists the missing one is empty."""
    if feature.pooling is None:
        return pl.lit(value)
    return pl.lit([] if value == feature.missing else [value], dtype=dtype_of(feature))
