"""DCN-v2 (Wang et al. 2021, arXiv 2008.13535), stacked: full cross layers, then a tower."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from recprune.model.families.family import Counts, Cut, Layer, Tensors, chain, select_columns, tower
from recprune.model.linear import linear

if TYPE_CHECKING:
    from recprune.model.shape import Shape


class DCN:
    """x₀ = columns; x_{l+1} = x₀ ⊙ (W_l·x_l + b_l) + x_l; logit = top(x_L)."""

    has_pairs = False

    def layers(self, shape: "Shape", counts: Counts) -> list[Layer]:
        """Return the cross layers, square in the columns read, and the top tower."""
        columns = counts["columns"]
        crosses = [(f"cross.{i}", columns, columns) for i in range(shape.cross)]
        return crosses + chain("top", [columns, *shape.tower_widths("top", counts), 1])

    def interaction_flops(self, shape: "Shape", counts: Counts) -> int:
        """Count a product and a sum for each column of each cross layer."""
        return 2 * counts["columns"] * shape.cross

    def cuts(self, shape: "Shape") -> dict[str, list[Cut]]:
        """Return the inputs: a column goes from x₀, hence from every cross layer's both sides."""
        every = tuple(range(len(shape.inputs)))
        places = [("top.0.weight", 1)]
        for i in range(shape.cross):
            places += [(f"cross.{i}.weight", 0), (f"cross.{i}.weight", 1), (f"cross.{i}.bias", 0)]
        return {"inputs": [Cut(tensor, axis, every) for tensor, axis in places]}

    def logits(self, shape: "Shape", weights: Mapping[str, Tensor], vectors: Tensor, keep: Tensors | None) -> Tensor:
        """Return the logit of each row (B,)."""
        x = start = select_columns(shape, vectors)  # (B, C)
        if keep is not None:
            keep["inputs"] = start
        for i in range(shape.cross):
            x = start * linear(x, weights[f"cross.{i}.weight"], weights[f"cross.{i}.bias"]) + x
        return tower(weights, "top", len(shape.top), x, keep).squeeze(1)
