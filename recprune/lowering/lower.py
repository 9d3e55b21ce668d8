"""A network becomes a model: the fastest way whose rounding costs no more than is allowed, proved against torch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from recprune.errors import RecpruneError
from recprune.lowering.calibrate import Calibration, Kind, fit, mean_offset, shift
from recprune.lowering.graph import Network, build_graph
from recprune.lowering.interaction import usual_lowering
from recprune.lowering.lowering import Lowering, Ranges
from recprune.lowering.parity import largest_difference, scores
from recprune.lowering.ranges import input_ranges
from recprune.lowering.session import Feed, written
from recprune.metrics.intervals import Paired, paired
from recprune.metrics.scores import log_losses, of_all_rows, probability

PART = 128
"""Rows of a call by which rounding is judged: where scales are taken from the call, it matters."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Rows with what they were labelled and what torch makes of them."""

    rows: Feed
    """What the network takes behind its look-ups; see `ready_values`."""
    label: NDArray[np.float32]
    logit: NDArray[np.float64]
    """Torch's, without an offset."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A model and how it came about."""

    model: onnx.ModelProto
    lowering: Lowering
    calibration: Calibration
    """Of the logit, in the world of the log."""
    rate: float
    """Share of the negative rows that the log kept: the model's probabilities are of all rows."""
    rounding: Paired | None
    """NE of the model against that of the same network in fp32; None where nothing was rounded."""
    refused: dict[str, Paired]
    """Faster ways whose rounding costs too much, or cannot be judged."""
    mean_offset: float
    """What the calibration adds to the logits of the calibrating half, on average."""


def lower(
    network: Network,
    ways: Sequence[Lowering],
    half: Seen,
    observed: Seen,
    folder: Path,
    *,
    order: Callable[[Sequence[Lowering]], Sequence[Lowering]] = list,
    kind: Kind = "offset",
    prior: float,
    limit: float,
) -> Lowered:
    """Return the first way whose rounding is allowed, calibrated.

    Args:
        network: what is written down.
        ways: which may be taken; the last that is left is taken whatever its rounding costs.
        half: the calibrating half of the tail.
        observed: the day's last rows, learned or not: of them the ranges of the layers' inputs are taken, and by them
            rounding is judged. It compares a network with itself, and a tail is too small to show what it costs.
        folder: where models that are tried are written for the while.
        order: puts first, of the ways that are left, the one to be tried next.
        kind: of calibration, see `fit`.
        prior: see `fit`.
        limit: largest relative NE that rounding may cost, by the upper end of its interval.
    """
    ready = network.ready()
    exact, rate = fit(kind, half.label, half.logit, prior), network.schema.negative_sampling_rate
    losses = log_losses(observed.label, probability(exact(observed.logit)))
    ranges: Ranges | None = None
    refused: dict[str, Paired] = {}
    left = list(ways)
    while left:
        way = order(left)[0]
        if way.exact:
            model = _built(network, exact, way, None)
            return Lowered(model, way, exact, rate, None, refused, mean_offset(exact, half.logit))
        if way.layers == "int8" and ranges is None:
            ranges = input_ranges(ready, observed.rows, folder)
        model = _built(ready, shift(-math.log(rate)), way, ranges)
        on_half, on_observed = (_logits(model, seen.rows, folder) for seen in (half, observed))
        map_ = fit(kind, half.label, on_half, prior)
        rounding = paired(log_losses(observed.label, probability(map_(on_observed))), losses)
        if len(left) == 1 or (rounding.high is not None and rounding.high <= limit):
            model = _built(network, map_, way, ranges)
            return Lowered(model, way, map_, rate, rounding, refused, mean_offset(map_, on_half))
        refused[str(way)] = rounding
        left.remove(way)
    raise ValueError("there is no way to choose from")


def possible(ways: Sequence[Lowering], rows: pl.DataFrame, network: Network) -> list[Lowering]:
    """Return the ways that rows allow: without any nothing is known of the layers' inputs, and only fp32 is left."""
    if len(rows):
        return list(ways)
    return [way for way in ways if way.layers != "int8"] or [usual_lowering(network.line.shape)]


def parity(
    network: Network,
    lowered: Lowered,
    model: Path | InferenceSession,
    rows: pl.DataFrame,
    logit: NDArray[np.float64],
    *,
    folder: Path,
) -> dict[str, float | int]:
    """Return the largest differences from torch: of the same graph in fp32, and of the model if it is rounded.

    Args:
        network: what was written down.
        lowered: what it was made.
        model: as it is served.
        rows: raw feature values, a column per input.
        logit: torch's, without an offset (N,).
        folder: where the graph in fp32 is written for the while.

    Raises:
        RecpruneError: the model gives values that are not finite.
    """
    expected = of_all_rows(probability(lowered.calibration(logit)), lowered.rate)
    if lowered.lowering.exact:
        return {"fp32": _finite(model, rows, expected), "rows": len(rows)}
    exact = replace(lowered.lowering, layers="fp32", rows="fp32")
    with written(_built(network, lowered.calibration, exact, None), folder / ".exact") as plain:
        return {"fp32": _finite(plain, rows, expected), "rounded": _finite(model, rows, expected), "rows": len(rows)}


def _finite(model: Path | InferenceSession, rows: pl.DataFrame, expected: NDArray[np.float64]) -> float:
    difference = largest_difference(model, rows, expected)
    if not np.isfinite(difference):
        raise RecpruneError(
            f"the exported graph or torch gives values that are not finite on {len(rows)} real rows; "
            "nothing was exported: see the finite rule of the days before, or lower train.learning_rate."
        )
    return difference


def _built(network: Network, calibration: Calibration, way: Lowering, ranges: Ranges | None) -> onnx.ModelProto:
    """Return a graph that gives probabilities of all rows, of a network that has learned from a log."""
    of_all = calibration.shifted(math.log(network.schema.negative_sampling_rate))
    return build_graph(network.line, network.vocabulary, network.schema, of_all, way, ranges)


def _logits(model: onnx.ModelProto, rows: Feed, folder: Path) -> NDArray[np.float64]:
    """Return a model's logits (N,)."""
    parts = [slice(start, start + PART) for start in range(0, len(next(iter(rows.values()))), PART)]
    with written(model, folder / ".logits") as file:
        found = [np.zeros(0, np.float32), *scores(file, rows, parts)]
    p = np.clip(np.concatenate(found).astype(np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(p) - np.log1p(-p))


def rounding_facts(lowered: Lowered) -> dict[str, Any]:
    """Return plain JSON of what rounding costs, and of the ways that were refused for it."""
    return {
        "rounding": {"rounded": not lowered.lowering.exact, **(lowered.rounding.to_json() if lowered.rounding else {})},
        "refused": {way: rounding.to_json() for way, rounding in lowered.refused.items()},
    }
