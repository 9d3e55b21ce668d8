"""The range of each layer's inputs, by which they become 8-bit integers."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.schema import Schema
from recprune.data.vocabulary import Vocabulary
from recprune.lowering.graph import watched_graph
from recprune.lowering.layers import quantization
from recprune.lowering.lowering import Ranges
from recprune.lowering.session import feed, open_session, written
from recprune.model.line import Line

VALUES = 100_000
"""Values of a layer's inputs that are looked at, drawn: every n-th would be of a few neurons alone."""
HEADROOM = 1.25
"""Ranges are widened by it: tomorrow's values may lie further out. On a Monday of Complete Journey, when the promotions
change, values that were cut off cost 0.4 % of NE."""
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the whole range that are tried."""


def input_ranges(line: Line, vocabulary: Vocabulary, schema: Schema, rows: pl.DataFrame, folder: Path) -> Ranges:
    """Return by layer the range [low, high] of its inputs on these rows that rounds them best, with headroom.

    Args:
        line: whose layers they are.
        vocabulary: ids to rows of the table.
        schema: of the features.
        rows: raw feature values, a column per input; one at least.
        folder: where the model that tells them is written for the while.
    """
    model, fed = watched_graph(line, vocabulary, schema)
    names = list(dict.fromkeys(name for tensors in fed.values() for name in tensors))
    with written(model, folder / ".ranges") as file:
        values = dict(zip(names, open_session(file).run(names, feed(rows)), strict=True))
    best = {layer: best_range(np.concatenate([values[n].ravel() for n in tensors])) for layer, tensors in fed.items()}
    return {layer: (HEADROOM * low, HEADROOM * high) for layer, (low, high) in best.items()}


def best_range(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the range, cut at both ends by one share, that has the least mean square error of rounding.

    A wide range rounds coarsely, a narrow one cuts off what lies outside.

    >>> best_range(np.array([-1.0, 0.5, 2.0], np.float32))
    (-1.0, 2.0)
    """
    few = len(values) <= VALUES
    some = (values if few else values[np.random.default_rng(0).integers(0, len(values), VALUES)]).astype(np.float64)
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    tried = [(low * share, high * share) for share in SHARES]
    errors = [float(np.mean((some - _rounded(some, *ends)) ** 2)) if len(some) else 0.0 for ends in tried]
    return tried[int(np.argmin(errors))]


def _rounded(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    scale, zero = (float(x) for x in quantization(low, high))
    return (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
