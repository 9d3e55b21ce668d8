"""DLRM (Naumov et al. 2019, arXiv 1906.00091): a tower on the vectors' columns and dot products."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from recprune.model.families.family import Counts, Cut, Layer, Tensors, chain, columns_and_products, tower

if TYPE_CHECKING:
    from recprune.model.shape import Shape


class DLRM:
    """logit = top(columns ∥ pairs)."""

    has_pairs = True

    def layers(self, shape: "Shape", counts: Counts) -> list[Layer]:
        """Return the top tower."""
        return chain("top", [counts["columns"] + counts["pairs"], *shape.tower_widths("top", counts), 1])

    def interaction_flops(self, shape: "Shape", counts: Counts) -> int:
        """Count 2·D for each dot product."""
        return 2 * shape.embedding * counts["pairs"]

    def cuts(self, shape: "Shape") -> dict[str, list[Cut]]:
        """Return the inputs: each is a column of the first layer's weight."""
        return {"inputs": [Cut("top.0.weight", 1, tuple(range(len(shape.inputs))))]}

    def logits(self, shape: "Shape", weights: Mapping[str, Tensor], vectors: Tensor, keep: Tensors | None) -> Tensor:
        """Return the logit of each row (B,)."""
        inputs = columns_and_products(shape, vectors)  # (B, K)
        if keep is not None:
            keep["inputs"] = inputs
        return tower(weights, "top", len(shape.top), inputs, keep).squeeze(1)
