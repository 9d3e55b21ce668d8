"""DeepFM (Guo et al. 2017, arXiv 1703.04247) with a weight per pair and a linear term on the columns.

The weights are those of FwFM (Pan et al. 2018, arXiv 1806.03514), as DeepLight prunes them (Deng et al. 2021,
arXiv 2002.06987); all pairs start at weight 1, which is the plain factorization machine.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from recprune.model.families.family import Counts, Cut, Layer, Tensors, chain, columns_and_products, tower

if TYPE_CHECKING:
    from recprune.model.shape import Shape


class DeepFM:
    """logit = wide(columns ∥ pairs) + top(columns)."""

    has_pairs = True

    def layers(self, shape: "Shape", counts: Counts) -> list[Layer]:
        """Return the linear layer on all inputs and the tower on the columns."""
        columns = counts["columns"]
        return [("wide", columns + counts["pairs"], 1), *chain("top", [columns, *shape.tower_widths("top", counts), 1])]

    def interaction_flops(self, shape: "Shape", counts: Counts) -> int:
        """Count 2·D for each dot product."""
        return 2 * shape.embedding * counts["pairs"]

    def cuts(self, shape: "Shape") -> dict[str, list[Cut]]:
        """Return the inputs: columns lie in both parts, pairs in the linear one alone."""
        every = tuple(range(len(shape.inputs)))
        columns = every[: shape.counts()["columns"]]
        return {"inputs": [Cut("wide.weight", 1, every), Cut("top.0.weight", 1, columns)]}

    def logits(self, shape: "Shape", weights: Mapping[str, Tensor], vectors: Tensor, keep: Tensors | None) -> Tensor:
        """Return the logit of each row (B,)."""
        inputs = columns_and_products(shape, vectors)  # (B, K)
        columns = inputs.shape[1] - len(shape.reading.first)
        if keep is not None:
            keep["inputs"] = inputs
        wide = functional.linear(inputs, weights["wide.weight"], weights["wide.bias"])
        return (wide + tower(weights, "top", len(shape.top), inputs[:, :columns], keep)).squeeze(1)
