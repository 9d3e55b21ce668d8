"""The ways in which one network can be written down as a graph; which is fastest depends on shape, batch and CPU."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

Precision = Literal["fp32", "int8", "dynamic_int8"]
Rows = Literal["fp32", "uint8"]
Columns = Literal["picked", "whole"]
Pairs = Literal["gathered", "square", "whole"]
Ranges = Mapping[str, tuple[float, float]]
"""By the name of a fully connected layer the least and the largest value that its inputs take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lowering:
    """How the parts of a graph are written down. All ways of one precision give the same probabilities."""

    layers: Precision = "fp32"
    """Fully connected layers: as they are; weights and activations as 8-bit integers, the activations' scale known
    beforehand, or taken from the rows of each call."""
    rows: Rows = "fp32"
    """The embedding table: as it is, or 8-bit integers with a scale per feature."""
    columns: Columns = "picked"
    """Columns of the vectors: the ones that are read are copied, or the first layer reads all, with weights 0."""
    pairs: Pairs = "gathered"
    """Dot products: of the pairs that are read, two copies and a product; all, of which those that are read are
    copied; all, and the first layer reads all, with weights 0."""

    @property
    def exact(self) -> bool:
        """Whether nothing is rounded."""
        return self.layers == self.rows == "fp32"

    def __str__(self) -> str:
        """Name what differs from the plainest way.

        >>> str(Lowering()), str(Lowering(layers="int8", rows="uint8"))
        ('fp32', 'layers int8, rows uint8')
        """
        plain = asdict(Lowering())
        return ", ".join(f"{key} {value}" for key, value in asdict(self).items() if value != plain[key]) or "fp32"
