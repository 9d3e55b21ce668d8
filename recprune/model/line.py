"""A line in training: weights, optimizer state, statistics of the numbers, importance.

Legend: F categorical features, Q numbers, D embedding width, R rows of the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.model import dlrm
from recprune.model.dlrm import Tensors
from recprune.model.shape import Shape


@dataclass(slots=True)
class Line:
    """Everything that a line carries from one day to the next."""

    shape: Shape
    sizes: tuple[int, ...]
    """Embedding rows per categorical feature, the unknown row included; R is their sum."""
    weights: Tensors
    """`embedding` (R, D) and the fully connected layers."""
    moments: Tensors
    """`embedding.square` (R,) of row-wise Adagrad; `NAME.first`, `NAME.second` of Adam per layer tensor."""
    step: int = 0
    """Adam's step count."""
    numbers: Tensors = field(default_factory=dict)
    """Running statistics of the compressed numbers, float64: `count`, `mean`, `square` (Q,)."""
    importance: Tensors = field(default_factory=dict)
    """E[(a · ∂L/∂a)²] per group of the last passes: `inputs`, `bottom.i`, `top.i`."""

    def offsets(self) -> Tensor:
        """Return the first table row of each feature (F,)."""
        sizes = np.array(self.sizes, np.int64)
        return torch.from_numpy(np.cumsum(sizes) - sizes)

    def standardize(self, raw: Tensor) -> Tensor:
        """Return raw numbers (B, Q) as the bottom network reads them (B, 2Q)."""
        mean, deviation = self.scale()
        return dlrm.standardize(raw, mean, deviation)

    def scale(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the compressed numbers (Q,), float64; 1 for a constant."""
        count = self.numbers["count"].clamp(min=1)
        variance = self.numbers["square"] / count
        deviation = torch.where(variance > 1e-12, variance.sqrt(), torch.ones_like(variance))
        return self.numbers["mean"], deviation

    def layer_names(self) -> list[str]:
        """Name the tensors that Adam moves."""
        return [name for name in self.weights if name != "embedding"]

    def copy(self) -> "Line":
        """Return a line that shares nothing with this one."""

        def clone(tensors: Mapping[str, Tensor]) -> Tensors:
            return {name: tensor.clone() for name, tensor in tensors.items()}

        return replace(
            self,
            weights=clone(self.weights),
            moments=clone(self.moments),
            numbers=clone(self.numbers),
            importance=clone(self.importance),
        )


def new_line(shape: Shape, sizes: Sequence[int], seed: int) -> Line:
    """Return an untrained line."""
    generator = torch.Generator().manual_seed(seed)
    weights = {"embedding": dlrm.initial_rows(sum(sizes), shape.embedding, generator)}
    weights |= dlrm.initial_weights(shape, generator)
    moments: Tensors = {"embedding.square": torch.zeros(sum(sizes))}
    for name, tensor in weights.items():
        if name != "embedding":
            moments[f"{name}.first"] = torch.zeros_like(tensor)
            moments[f"{name}.second"] = torch.zeros_like(tensor)
    q = len(shape.numeric)
    numbers = {key: torch.zeros(q, dtype=torch.float64) for key in ("count", "mean", "square")}
    return Line(shape=shape, sizes=tuple(sizes), weights=weights, moments=moments, numbers=numbers)


def grow_rows(line: Line, sizes: Sequence[int], seed: int) -> None:
    """Give a line the rows of a larger vocabulary: old rows stay, new ones start fresh, in place.

    Raises:
        ValueError: a feature would lose rows.
    """
    if any(new < old for new, old in zip(sizes, line.sizes, strict=True)):
        raise ValueError(f"a vocabulary shrank: {line.sizes} to {tuple(sizes)}")
    generator = torch.Generator().manual_seed(seed)
    table, square = line.weights["embedding"], line.moments["embedding.square"]
    rows, squares, start = [table[:0]], [square[:0]], 0
    for old, new in zip(line.sizes, sizes, strict=True):
        fresh = dlrm.initial_rows(new - old, line.shape.embedding, generator)
        rows += [table[start : start + old], fresh]
        squares += [square[start : start + old], torch.zeros(new - old)]
        start += old
    line.weights["embedding"] = torch.cat(rows)
    line.moments["embedding.square"] = torch.cat(squares)
    line.sizes = tuple(sizes)


def learn_scale(line: Line, raw: NDArray[np.float32]) -> None:
    """Merge a day's numbers (N, Q) into the running statistics, in place (Chan et al. 1979)."""
    values = dlrm.compress(torch.from_numpy(np.array(raw)))
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
