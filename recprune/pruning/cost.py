"""What a network costs: the quantity that a budget limits and a removal saves."""

from typing import Protocol

from recprune.model.families.family import Counts
from recprune.model.shape import Shape


class Cost(Protocol):
    """A cost of networks of one dense shape, as a function of what is left of it."""

    unit: str
    """What one unit is called, in messages."""
    look_ups: bool
    """Whether a look-up costs."""

    def __call__(self, shape: Shape, counts: Counts) -> float:
        """Return the cost of the network that has these counts; `shape` gives family, D and numbers."""
        ...

    def smooth(self, shape: Shape, counts: Counts) -> float:
        """Return the cost without its steps: by its differences removals are priced."""
        ...


class Flops:
    """Floating point operations of a row, look-ups free: `Shape.flops`."""

    unit = "FLOPs"
    look_ups = False

    def __call__(self, shape: Shape, counts: Counts) -> float:
        """Return the FLOPs of one row."""
        return float(shape.flops(counts))

    smooth = __call__


class Parameters:
    """Weights and biases of the fully connected layers; embedding rows are not counted."""

    unit = "parameters"
    look_ups = False

    def __call__(self, shape: Shape, counts: Counts) -> float:
        """Return the number of parameters."""
        return float(sum((n + 1) * m for _, n, m in shape.layers(counts)))

    smooth = __call__
