"""A line in training: weights, optimizer state, statistics of the numbers, importance.

Legend: F categorical features, Q numbers, D embedding width, R rows of the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.model import network
from recprune.model.network import Tensors
from recprune.model.shape import Shape

_CPU = torch.device("cpu")
_SCALED = 524_288
"""Rows whose numbers are taken together: memory does not grow with the day."""


@dataclass(slots=True)
class Line:
    """Everything that a line carries from one day to the next."""

    shape: Shape
    sizes: tuple[int, ...]
    """Embedding rows per categorical feature, the unknown row included, 0 for one that is not read; R is their sum."""
    weights: Tensors
    """`embedding` (R, D) and the fully connected layers."""
    moments: Tensors
    """`embedding.square` (R,) of row-wise Adagrad, forgetting; `NAME.first`, `NAME.second` of Adam per layer tensor."""
    step: int = 0
    """Adam's step count."""
    numbers: Tensors = field(default_factory=dict)
    """Running statistics of the compressed numbers, float64: `count`, `mean`, `square` (Q,)."""
    importance: Tensors = field(default_factory=dict)
    """E[(a · ∂L/∂a)²] per group of the last passes: `inputs`, `bottom.i`, `top.i`, of autoint also `vectors`."""
    origin: Tensors = field(default_factory=dict)
    """Number in the dense network of each neuron that is left, per hidden layer: int64, ascending."""
    masks: Tensors = field(default_factory=dict)
    """Which single weights are kept: bool, by tensor; a tensor without a mask is whole."""
    extra: Tensors = field(default_factory=dict)
    """Tensors of a policy's own, shaped like a layer tensor and named after it."""

    def offsets(self, device: torch.device = _CPU) -> Tensor:
        """Return the first table row of each feature (F,)."""
        return _offsets(self.sizes, device)

    def standardize(self, raw: Tensor) -> Tensor:
        """Return raw numbers (B, Q) as the bottom network reads them (B, 2Q)."""
        mean, deviation = self.scale()
        return network.standardize(raw, mean, deviation)

    def scale(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the compressed numbers (Q,), float64; 1 for a constant."""
        count = self.numbers["count"].clamp(min=1)
        variance = self.numbers["square"] / count
        deviation = torch.where(variance > 1e-12, variance.sqrt(), torch.ones_like(variance))
        return self.numbers["mean"], deviation

    def look_up(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the table row of each id that is read, and what its row counts; see `network.pooled`.

        Args:
            ids: within features (B, C), `NO_ID` where there is none.

        Returns:
            Rows of the table (B, S) and factors (B, S): of a list of n ids that are averaged 1 / n each, where there
            is no id 0; None if every feature has one id.
        """
        reading = self.shape.reading_on(ids.device)
        found = ids.index_select(1, reading.slots).long()
        if reading.owners is None:
            return found + self.offsets(ids.device)[reading.features], None
        there = (found >= 0).float()
        count = torch.zeros(len(ids), len(reading.features), device=ids.device)
        count.index_add_(1, reading.owners, there).clamp_(min=1)
        factor = there / torch.where(reading.averaged > 0, count[:, reading.owners], 1.0)
        return found.clamp_(min=0) + self.offsets(ids.device)[reading.features][reading.owners], factor

    def rows(self, rows: Tensor) -> Tensor:
        """Return these rows of the table, of any shape (…) → (…, D), as a copy."""
        return self.weights["embedding"].index_select(0, rows.flatten()).view(*rows.shape, self.shape.embedding)

    def layer_names(self) -> list[str]:
        """Name the tensors that Adam moves."""
        return [name for name in self.weights if name != "embedding"]

    def copy(self) -> "Line":
        """Return a line that shares nothing with this one, on the CPU."""

        def clone(tensors: Mapping[str, Tensor]) -> Tensors:
            return {name: tensor.to(_CPU, copy=True) for name, tensor in tensors.items()}

        return replace(
            self,
            weights=clone(self.weights),
            moments=clone(self.moments),
            numbers=clone(self.numbers),
            importance=clone(self.importance),
            origin=clone(self.origin),
            masks=clone(self.masks),
            extra=clone(self.extra),
        )


@lru_cache(maxsize=64)
def _offsets(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Return the sums of the sizes before each; asked for by every batch, and only read."""
    found = np.array(sizes, np.int64)
    return torch.from_numpy(np.cumsum(found) - found).to(device)


def new_line(shape: Shape, sizes: Sequence[int], seed: int) -> Line:
    """Return an untrained line; features that the shape does not read get no rows."""
    generator = torch.Generator().manual_seed(seed)
    read = set(shape.reading.features.tolist())
    sizes = [size if i in read else 0 for i, size in enumerate(sizes)]
    weights = {"embedding": network.initial_rows(sum(sizes), shape.embedding, generator)}
    weights |= network.initial_weights(shape, generator)
    moments: Tensors = {"embedding.square": torch.zeros(sum(sizes))}
    for name, tensor in weights.items():
        if name != "embedding":
            moments[f"{name}.first"] = torch.zeros_like(tensor)
            moments[f"{name}.second"] = torch.zeros_like(tensor)
    q = len(shape.numeric)
    numbers = {key: torch.zeros(q, dtype=torch.float64) for key in ("count", "mean", "square")}
    origin = {kind: torch.arange(n) for kind, n in shape.widths().items() if kind.startswith(("top", "bottom"))}
    return Line(shape=shape, sizes=tuple(sizes), weights=weights, moments=moments, numbers=numbers, origin=origin)


def grow_rows(line: Line, sizes: Sequence[int], seed: int, taken_over: NDArray[np.int32] | None = None) -> None:
    """Give a line the rows of a larger vocabulary: old rows stay, new ones start fresh, in place.

    A feature that is not read has no rows and gets none.

    Args:
        line: changed in place.
        sizes: rows of each feature (F,).
        seed: of the new rows' vectors.
        taken_over: old rows that belong to another id now and start fresh, too (n, 2): the feature's number, the row.

    Raises:
        ValueError: a feature would lose rows.
    """
    read = set(line.shape.reading.features.tolist())
    sizes = [size if i in read else 0 for i, size in enumerate(sizes)]
    if any(new < old for new, old in zip(sizes, line.sizes, strict=True)):
        raise ValueError(f"a vocabulary shrank: {line.sizes} to {tuple(sizes)}")
    generator = torch.Generator().manual_seed(seed)
    table, square = line.weights["embedding"], line.moments["embedding.square"]
    rows, squares, start = [table[:0]], [square[:0]], 0
    for old, new in zip(line.sizes, sizes, strict=True):
        fresh = network.initial_rows(new - old, line.shape.embedding, generator)
        rows += [table[start : start + old], fresh]
        squares += [square[start : start + old], torch.zeros(new - old)]
        start += old
    line.weights["embedding"] = torch.cat(rows)
    line.moments["embedding.square"] = torch.cat(squares)
    line.sizes = tuple(sizes)
    if taken_over is not None and len(taken_over):
        _start_fresh(line, taken_over, generator)


def _start_fresh(line: Line, rows: NDArray[np.int32], generator: torch.Generator) -> None:
    number, row = torch.from_numpy(rows.astype(np.int64)).unbind(1)
    there = row < torch.tensor(line.sizes)[number]  # not of a feature that is not read
    at = (line.offsets()[number] + row)[there]
    line.weights["embedding"][at] = network.initial_rows(len(rows), line.shape.embedding, generator)[there]
    line.moments["embedding.square"][at] = 0.0


def learn_scale(line: Line, raw: NDArray[np.float32]) -> None:
    """Merge a day's numbers (N, Q) into the running statistics, in place (Chan et al. 1979)."""
    for start in range(0, max(len(raw), 1), _SCALED):
        _merge_scale(line, torch.from_numpy(np.array(raw[start : start + _SCALED])))


def _merge_scale(line: Line, raw: Tensor) -> None:
    values = network.compress(raw)
    there = ~torch.isnan(values)
    count = there.sum(0).double()
    total = torch.where(there, values, 0.0).sum(0)
    mean = total / count.clamp(min=1)
    square = torch.where(there, (values - mean) ** 2, 0.0).sum(0)
    old = line.numbers
    both = (old["count"] + count).clamp(min=1)
    delta = mean - old["mean"]
    line.numbers = {
        "count": old["count"] + count,
        "mean": old["mean"] + delta * count / both,
        "square": old["square"] + square + delta**2 * old["count"] * count / both,
    }
