"""What a network family declares: its layers, what they cost, what is prunable in it, and its forward pass.

Legend: B rows, V vectors read, D embedding width, C columns read, P pairs read, K = C + P.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from recprune.model.linear import linear

if TYPE_CHECKING:
    from recprune.model.shape import Shape

Tensors = dict[str, Tensor]
Counts = Mapping[str, int]
"""How many of each a network has: `columns`, `pairs`, `vectors` and `numbers` (0 or 1) it reads, and neurons per
hidden layer, `bottom.i` and `top.i`. All that a cost depends on."""
Layer = tuple[str, int, int]
"""Name, inputs and outputs of a fully connected layer."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the groups of one kind lie in a tensor: the group that each index along an axis belongs to."""

    tensor: str
    axis: int
    groups: tuple[int, ...]


class Family(Protocol):
    """One family of networks between the vectors and the logit."""

    has_pairs: bool
    """Whether the dot product of two vectors is an input."""

    def layers(self, shape: "Shape", counts: Counts) -> list[Layer]:
        """Return the fully connected layers above the vectors."""
        ...

    def interaction_flops(self, shape: "Shape", counts: Counts) -> int:
        """Count the floating point operations of a row outside the fully connected layers."""
        ...

    def cuts(self, shape: "Shape") -> dict[str, list[Cut]]:
        """Return where the groups of each prunable kind lie, hidden layers of the towers left out.

        `inputs` are the columns and pairs that are read. A kind without a cut is prunable by leaving
        vectors out.
        """
        ...

    def logits(self, shape: "Shape", weights: Mapping[str, Tensor], vectors: Tensor, keep: Tensors | None) -> Tensor:
        """Return the logit of each row (B,) from the vectors that are read (B, V, D)."""
        ...


def chain(part: str, widths: list[int]) -> list[Layer]:
    """Return the layers of a tower.

    >>> chain("top", [8, 4, 1])
    [('top.0', 8, 4), ('top.1', 4, 1)]
    """
    return [(f"{part}.{i}", n, m) for i, (n, m) in enumerate(pairwise(widths))]


def tower(weights: Mapping[str, Tensor], part: str, hidden: int, x: Tensor, keep: Tensors | None) -> Tensor:
    """Apply fully connected layers, ReLU after each but the last."""
    for i in range(hidden):
        x = linear(x, weights[f"{part}.{i}.weight"], weights[f"{part}.{i}.bias"], rectified=True)
        if keep is not None:
            keep[f"{part}.{i}"] = x
    return linear(x, weights[f"{part}.{hidden}.weight"], weights[f"{part}.{hidden}.bias"])


def select_columns(shape: "Shape", vectors: Tensor) -> Tensor:
    """Return the columns that are read (B, V, D) → (B, C)."""
    flat, columns = vectors.flatten(1), shape.reading_on(vectors.device).columns
    return flat if columns is None else flat.index_select(1, columns)


def columns_and_products(shape: "Shape", vectors: Tensor) -> Tensor:
    """Return the columns and the dot products of pairs that are read (B, V, D) → (B, C + P)."""
    reading = shape.reading_on(vectors.device)
    if len(reading.first) > len(reading.vectors):  # one matrix product is cheaper than many gathered ones
        apply: Callable[..., Tensor] = _ColumnsAndProducts.apply
        return apply(vectors, reading.columns, reading.products, reading.spread)
    columns = select_columns(shape, vectors)
    if not len(reading.first):
        return columns
    return torch.cat([columns, (vectors[:, reading.first] * vectors[:, reading.second]).sum(2)], dim=1)


class _ColumnsAndProducts(torch.autograd.Function):
    """Columns of X and some elements of X·Xᵀ.

    The products' gradient by X is (G + Gᵀ)·X: one matrix product, where autograd takes two, and sums.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, columns: Tensor | None, products: Tensor, spread: Tensor) -> Tensor:
        """Return the columns, all if None, and the elements at `products` of each row's V·V."""
        ctx.save_for_backward(vectors, columns, spread)
        flat = vectors.flatten(1)
        read = flat if columns is None else flat.index_select(1, columns)
        squares = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)  # (B, V·V)
        return torch.cat([read, squares.index_select(1, products)], dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient by the vectors; `spread` says which gradient each element of G + Gᵀ is, P for none."""
        vectors, columns, spread = ctx.saved_tensors
        rows, width = len(vectors), vectors.shape[1]
        count = vectors[0].numel() if columns is None else len(columns)
        padded = torch.cat([gradient[:, count:], gradient.new_zeros(rows, 1)], dim=1)  # (B, P + 1)
        found = torch.bmm(padded.index_select(1, spread).view(rows, width, width), vectors)
        by_columns, flat = gradient[:, :count], found.view(rows, -1)
        flat.add_(by_columns) if columns is None else flat.index_add_(1, columns, by_columns)
        return found, None, None, None
