"""Evaluate: candidate and champion through ONNX Runtime on rows that neither has learned."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.change import kind
from recprune.data.features import FeatureSet, calibrating_half
from recprune.data.partition import Partition, open_partition
from recprune.data.schema import Schema, type_of_values
from recprune.data.trial_rows import counted
from recprune.days import date_of
from recprune.files import SCRATCH, manifest_digest, open_artefact, read_json, write_json
from recprune.gating.pool import Pool, Scored
from recprune.lowering.inputs import raw_values
from recprune.lowering.session import feed
from recprune.metrics import scores as metrics
from recprune.metrics.intervals import paired
from recprune.metrics.slices import HOUR, KNOWN, MOST_VALUES, NEW, hours, slices
from recprune.model.change import inputs_digest
from recprune.serving.latency import measure_latency
from recprune.serving.scorer import Scorer
from recprune.settings import EvaluateSettings, Settings

Columns = dict[str, NDArray[Any]]
Probability = NDArray[np.float64]
PART = 8192
"""Rows of a call by which a day is scored: computed within the caches, and memory does not grow with the day."""


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
    ours, theirs = _opened(bundle, champion)
    partition = open_partition(events, day)
    rows, held_back = _counted(partition, open_artefact(features, "features", day)["tail_rows"])
    open_artefact(next_day, "scores", day)
    scores = pl.read_parquet(next_day / "scores.parquet")
    columns_of = partial(_inputs, schema=partition.schema)
    champion_whole = np.concatenate([_score(theirs, part, columns_of) for part in _parts(partition)])
    unknown = date_of(champion_day) < date_of(day)
    if not unknown:  # a replay's last day may meet a champion that has learned it; its score would say nothing
        champion_whole = np.full(len(rows), np.nan)
    at = np.arange(len(rows) - held_back, len(rows))
    at = at[~calibrating_half(rows["row_hash"].to_numpy()[at])] if held_back else at
    if not unknown:
        at = at[_held_back(champion_day, day, features.parent, rows["row_hash"].to_numpy()[at])]
    gating = _taken(partition, at)
    p_ours, p_theirs = _score(ours, gating, columns_of), _score(theirs, gating, columns_of)
    label = rows["label"].to_numpy()[at].astype(np.float64)
    whole = {"champion": champion_whole} | {c.removeprefix("p_"): scores[c].to_numpy() for c in scores.columns[2:]}
    today = rows["label"].to_numpy().astype(np.float64)
    columns = _sliced(partition, rows["event_time"], features)
    found = {
        "day": day,
        "champion_day": champion_day,
        "next_day": _metrics(today, whole) | _about(partition, len(rows)),
        "tail": _metrics(label, {"candidate": p_ours, "champion": p_theirs}),
        "line": _line(today, scores["p_served"].to_numpy(), champion_whole if unknown else np.zeros(0)),
        "slices": slices(today, whole, columns),
        **_facts(ours.manifest, theirs.manifest),
    }
    write_json(report, found)
    gated = [(name, values[at]) for name, values in columns]
    scored = [Scored(kind="tail", label=label, served=p_ours, champion=p_theirs, columns=gated)]
    new_line, parent = ours.manifest["new_line"], open_artefact(parent_pooled, "pooled")["day"]
    # of one model the differences say nothing
    if parent != champion_day and not new_line and unknown:
        served = scores["p_served"].to_numpy()
        scored.append(Scored(kind="next_day", label=today, served=served, champion=champion_whole, columns=columns))
    # a new line, after a restart or a takeover, must not be judged by the line that it replaced
    before = Pool.empty() if new_line else Pool.read(parent_pooled)
    before.and_day(day, champion_day, scored).write(pooled, day)
    few = next(_parts(partition)).head(max(settings.evaluate.batches, default=0))
    columns_each = {"candidate": columns_of(ours, few), "champion": columns_of(theirs, few)}
    write_json(measurements, _measured(day, bundle, champion, ours, theirs, columns_each, settings.evaluate))


def _opened(bundle: Path, champion: Path) -> tuple[Scorer, Scorer]:
    """Check and load both bundles, side by side."""
    with ThreadPoolExecutor() as pool:
        ours, theirs = pool.map(Scorer, (bundle, champion))
    return ours, theirs


def _counted(partition: Partition, tail_rows: int) -> tuple[pl.DataFrame, int]:
    """Return key, time and label of a day's rows, and how many of them are the tail.

    Rows by which a trial chose the day's parent do not count: they are left out, here and everywhere.
    """
    rows = partition.scan().select("row_hash", "event_time", "label").collect()
    return counted(rows, partition.trial), counted(rows.tail(tail_rows), partition.trial).height


def _parts(partition: Partition) -> Iterator[pl.DataFrame]:
    """Yield the rows that count, a file after the other: the whole of a long day would not fit into memory."""
    for path in partition.parts():
        yield counted(pl.read_parquet(path), partition.trial)


def _taken(partition: Partition, at: NDArray[np.intp]) -> pl.DataFrame:
    """Return some of the rows that count, by their numbers, which ascend."""
    found, start = [], 0
    for part in _parts(partition):
        first, last = np.searchsorted(at, [start, start + part.height])
        found.append(part[at[first:last] - start])
        start += part.height
    return pl.concat(found)


def _about(partition: Partition, rows: int) -> dict[str, Any]:
    """Return the best NE that is possible, and how many rows do not count, if any."""
    left = {} if partition.trial is None else {"not_counted": partition.counts["accepted"] - rows}
    return {"teacher_ne": partition.teacher_ne, **left}


def _held_back(champion_day: str, day: str, features: Path, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say which rows a champion of the same date, or a later one, has not learned: those that it held back itself."""
    if date_of(champion_day) > date_of(day):
        return np.zeros(len(keys), np.bool_)
    return np.isin(keys, FeatureSet.load(features / champion_day / "tail").row_hash)


def _facts(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifests say of candidate and champion, for the rules."""
    return {
        "bytes": {"candidate": ours["bytes"], "champion": theirs["bytes"]},
        "parity": ours["parity"],
        "rounding": ours["rounding"],
        "inputs_unchanged": ours["inputs"] == theirs["inputs"],
        "inputs": _compare_inputs(ours["inputs"], theirs["inputs"]),
        "delivered": {"candidate": ours["delivered"], "champion": theirs["delivered"]},
    }


def _inputs(scorer: Scorer, rows: pl.DataFrame, schema: Schema) -> Columns:
    """Return what a bundle takes; inputs that the day's schema has no more are missing, as production sends them.

    Of a list it gets as many ids as it reads, which may be more than the day's schema says.
    """
    there, most = {f.name: kind(f) for f in schema.features}, {i["name"]: i.get("most", 1) for i in _takes(scorer)}
    read = tuple(replace(f, most=most.get(f.name, f.most)) for f in schema.features)
    found, given = {}, feed(raw_values(rows, replace(schema, features=read)))
    for i in _takes(scorer):
        name, dtype = i["name"], i["dtype"]
        if there.get(name) == f"{i['type']} {type_of_values(dtype, listed='most' in i)}":
            found[name] = given[name]
            continue
        missing = np.nan if dtype == "float32" else i["missing"]
        size = (len(rows), i["most"]) if "most" in i else len(rows)
        found[name] = np.full(size, missing, object if dtype == "string" else dtype)
    return found


def _takes(scorer: Scorer) -> list[dict[str, Any]]:
    inputs: list[dict[str, Any]] = scorer.manifest["inputs"]
    return inputs


def _compare_inputs(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """Say how the candidate's inputs differ from the champion's, and by which digits they can be accepted."""
    mine, other = ({i["name"]: i for i in inputs} for inputs in (ours, theirs))
    return {
        "digest": inputs_digest(ours),
        "new": [name for name in mine if name not in other],
        "gone": [name for name in other if name not in mine],
        "changed": [name for name in mine if name in other and mine[name] != other[name]],
    }


def _score(scorer: Scorer, rows: pl.DataFrame, columns_of: Callable[[Scorer, pl.DataFrame], Columns]) -> Probability:
    """Return a bundle's probabilities as the log has them, which may lack negative rows."""
    parts = [rows.slice(start, PART) for start in range(0, len(rows), PART)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda part: scorer.score(columns_of(scorer, part)), parts))
    p = np.concatenate([np.zeros(0), *found])
    return metrics.of_the_log(p, scorer.manifest.get("negative_sampling_rate", 1.0))


def _metrics(label: NDArray[np.float64], predictions: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Return rows, base rate and each model's NE, AUC and calibration; null where they are not defined."""
    ranked = {name: p for name, p in predictions.items() if np.isfinite(p).all()}
    return {
        "rows": len(label),
        "base_rate": _number(float(np.mean(label))) if len(label) else None,
        "ne": {name: _number(metrics.normalized_entropy(label, p)) for name, p in predictions.items()},
        "auc": {name: _number(metrics.auc(label, p)) if name in ranked else None for name, p in predictions.items()},
        "calibration": {name: _number(metrics.calibration(label, p)) for name, p in predictions.items()},
    }


def _line(label: NDArray[np.float64], served: NDArray[np.float64], champion: NDArray[np.float64]) -> dict[str, Any]:
    """Compare the served line with the champion on the whole day, before either learned it; no champion, no rows."""
    label, served = label[: len(champion)], served[: len(champion)]
    return paired(metrics.log_losses(label, served), metrics.log_losses(label, champion)).to_json()


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _sliced(partition: Partition, times: pl.Series, features: Path) -> list[tuple[str, pl.Series]]:
    """Return what to slice by: hours, features that have few values, and for the others whether the id is new."""
    found = [(HOUR, _few(hours(times)))]
    known, start = _known(FeatureSet.load(features / "score").ids), 0
    for feature in partition.schema.categorical:
        ids, start = known[start : start + feature.most], start + feature.most
        column = partition.scan().select("row_hash", "event_time", feature.name)
        if feature.pooling is None and _has_few(column.head(1000), feature.name) and _has_few(column, feature.name):
            found.append((feature.name, _few(counted(column.collect(), partition.trial)[feature.name])))
        else:
            told = pl.Series(ids.any(axis=0)).replace_strict(
                {True: KNOWN, False: NEW}, return_dtype=pl.Enum([NEW, KNOWN])
            )
            found.append((f"{feature.name}, id", told))
    return found


def _known(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return of each id that is read whether it was known (C, N), one feature after the other."""
    found = np.empty(ids.shape[::-1], np.bool_)
    for start in range(0, len(ids), PART):
        found[:, start : start + PART] = (ids[start : start + PART] > 0).T
    return found


def _has_few(rows: pl.LazyFrame, name: str) -> bool:
    return int(rows.select(pl.col(name).n_unique()).collect().item()) <= MOST_VALUES


def _few(values: pl.Series) -> pl.Series:
    """Return texts of which there are few in a byte each."""
    return values.cast(pl.Enum(values.unique().sort())) if values.dtype == pl.String else values


def latency_file(day: str, bundle: Path, champion: Path, settings: EvaluateSettings) -> Path:
    """Return where it is kept within the day how long two bundles took."""
    asked = repr((manifest_digest(bundle), manifest_digest(champion), settings))
    return SCRATCH / day / f"latency-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"


def _measured(
    day: str,
    bundle: Path,
    champion: Path,
    ours: Scorer,
    theirs: Scorer,
    columns: dict[str, Columns],
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """Measure once; a resumed evaluation of the same two bundles under the same settings reuses the values."""
    kept = latency_file(day, bundle, champion, settings)
    if kept.exists():
        return dict(read_json(kept))
    scorers = {"candidate": ours, "champion": theirs}
    found = measure_latency(scorers, columns["candidate"], settings.batches, settings.repeats, own=columns)
    write_json(kept, {"day": day, **found})
    return {"day": day, **found}
