"""AutoInt (Song et al. 2019, arXiv 1810.11921): self-attention over the vectors, then a tower.

Legend: B rows, V vectors read, D embedding width, H heads, E = D / H.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from recprune.model.families.family import Counts, Cut, Layer, Tensors, chain, select_columns, tower

if TYPE_CHECKING:
    from recprune.model.shape import Shape

PROJECTIONS = ("query", "key", "value", "residual")


class AutoInt:
    """x_{l+1} = relu(softmax(Q·Kᵀ / √E)·V + R), Q, K, V, R linear in x_l; logit = top(columns of x_L).

    Columns are numbered like those of the embedding vectors they stand for. Every vector that is attended
    to costs, read or not; so whole vectors are a kind of their own. Heads are not prunable: a residual
    stream has one width.
    """

    has_pairs = False

    def layers(self, shape: "Shape", counts: Counts) -> list[Layer]:
        """Return the projections and the top tower."""
        width = shape.embedding
        attention = [(f"attention.{i}.{p}", width, width) for i in range(shape.attention) for p in PROJECTIONS]
        return attention + chain("top", [counts["columns"], *shape.tower_widths("top", counts), 1])

    def interaction_flops(self, shape: "Shape", counts: Counts) -> int:
        """Count scores and mixing, 2·V²·D each, and the projections of the vectors after the first one."""
        vectors, width = counts["vectors"], shape.embedding
        projections = len(PROJECTIONS) * 2 * width * width * (vectors - 1)
        return shape.attention * (projections + 4 * vectors * vectors * width)

    def cuts(self, shape: "Shape") -> dict[str, list[Cut]]:
        """Return the inputs, columns of the tower's first weight, and the vectors, which have no cut."""
        return {"inputs": [Cut("top.0.weight", 1, tuple(range(len(shape.inputs))))], "vectors": []}

    def logits(self, shape: "Shape", weights: Mapping[str, Tensor], vectors: Tensor, keep: Tensors | None) -> Tensor:
        """Return the logit of each row (B,)."""
        if keep is not None:
            keep["vectors"] = vectors
        for i in range(shape.attention):
            vectors = self._attend(shape.heads, weights, f"attention.{i}", vectors)
        inputs = select_columns(shape, vectors)  # (B, C)
        if keep is not None:
            keep["inputs"] = inputs
        return tower(weights, "top", len(shape.top), inputs, keep).squeeze(1)

    def _attend(self, heads: int, weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
        query, key, value, residual = (
            functional.linear(x, weights[f"{name}.{p}.weight"], weights[f"{name}.{p}.bias"]) for p in PROJECTIONS
        )
        rows, vectors, width = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(rows, vectors, heads, width // heads).transpose(1, 2)  # (B, H, V, E)

        score = split(query) @ split(key).transpose(2, 3) / math.sqrt(width // heads)  # (B, H, V, V)
        mixed = torch.softmax(score, dim=3) @ split(value)
        return torch.relu(mixed.transpose(1, 2).reshape(rows, vectors, width) + residual)
