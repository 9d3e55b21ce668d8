"""The range of each layer's inputs, by which they become 8-bit integers.

Legend: N rows, K inputs of a layer, V values that are looked at.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recprune.lowering.graph import Network, watched_graph
from recprune.lowering.layers import quantization
from recprune.lowering.lowering import Ranges
from recprune.lowering.session import Feed, open_session, written

VALUES = 100_000
"""Values of a layer's inputs that are looked at, drawn: every n-th would be of a few neurons alone."""
HEADROOM = 1.25
"""Ranges are widened by it: tomorrow's values may lie further out. On a Monday of Complete Journey, when the promotions
change, values that were cut off cost 0.4 % of NE."""
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the whole range that are tried."""
PART = 256
"""Rows of a call: what all layers read of a hundred thousand takes gigabytes, and time to get such memory."""


def input_ranges(network: Network, rows: Feed, folder: Path) -> Ranges:
    """Return by layer the range [low, high] of its inputs on these rows that rounds them best, with headroom.

    Args:
        network: whose layers they are.
        rows: what its graph takes; one row at least.
        folder: where the model that tells them is written for the while.
    """
    model, fed = watched_graph(network)
    names = list(dict.fromkeys(name for tensors in fed.values() for name, _ in tensors))
    count = len(next(iter(rows.values())))
    looked = {layer: _Looked(count, [axis for _, axis in tensors]) for layer, tensors in fed.items()}
    with written(model, folder / ".ranges") as file:
        session = open_session(file)
        for start in range(0, count, PART):
            part = session.run(names, {name: values[start : start + PART] for name, values in rows.items()})
            values = dict(zip(names, part, strict=True))
            for layer, tensors in fed.items():
                looked[layer].at(start, [np.moveaxis(values[name], axis, 0) for name, axis in tensors])
    best = {layer: each.best() for layer, each in looked.items()}
    return {layer: (HEADROOM * low, HEADROOM * high) for layer, (low, high) in best.items()}


class _Looked:
    """What was seen of a layer's inputs: both ends, and values that are drawn from all rows.

    A layer may read several tensors, with the rows on either axis; values are numbered as they lie in memory, tensor
    after tensor.
    """

    def __init__(self, rows: int, axes: Sequence[int]) -> None:
        self._rows, self._axes, self._ends = rows, axes, (0.0, 0.0)
        self._some = np.zeros(0)  # (V,)
        self._places: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]] = []

    def at(self, start: int, tensors: Sequence[NDArray[np.float32]]) -> None:
        """Look at some rows of all tensors (n, K)."""
        if not self._places:
            self._draw(tensors)
        low, high = self._ends
        for x, (numbers, rows, columns) in zip(tensors, self._places, strict=True):
            low, high = min(low, float(x.min(initial=0.0))), max(high, float(x.max(initial=0.0)))
            here = slice(*np.searchsorted(rows, (start, start + len(x))))
            self._some[numbers[here]] = x[rows[here] - start, columns[here]]
        self._ends = low, high

    def best(self) -> tuple[float, float]:
        """Return the range that rounds the values best."""
        return _best(self._some, *self._ends)

    def _draw(self, tensors: Sequence[NDArray[np.float32]]) -> None:
        """Draw values; keep of those of each tensor, by row, their numbers among the drawn, rows and columns."""
        sizes = [self._rows * x.shape[1] for x in tensors]
        drawn, first = _drawn(sum(sizes)), 0
        self._some = np.zeros(len(drawn))
        for x, axis, size in zip(tensors, self._axes, sizes, strict=True):
            numbers = np.flatnonzero((drawn >= first) & (drawn < first + size))
            place, first = drawn[numbers] - first, first + size
            rows, columns = divmod(place, self._rows)[::-1] if axis else divmod(place, x.shape[1])
            order = np.argsort(rows, kind="stable")
            self._places.append((numbers[order], rows[order], columns[order]))


def best_range(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the range, cut at both ends by one share, that has the least mean square error of rounding.

    A wide range rounds coarsely, a narrow one cuts off what lies outside.

    >>> best_range(np.array([-1.0, 0.5, 2.0], np.float32))
    (-1.0, 2.0)
    """
    ends = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    return _best(values[_drawn(len(values))].astype(np.float64), *ends)


def _drawn(count: int) -> NDArray[np.intp]:
    """Return which of so many values are looked at."""
    if count <= VALUES:
        return np.arange(count)
    return np.random.default_rng(0).integers(0, count, VALUES)


def _best(some: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    tried = [(low * share, high * share) for share in SHARES]
    errors = [float(np.mean((some - _rounded(some, *ends)) ** 2)) if len(some) else 0.0 for ends in tried]
    return tried[int(np.argmin(errors))]


def _rounded(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    scale, zero = (float(x) for x in quantization(low, high))
    return (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
