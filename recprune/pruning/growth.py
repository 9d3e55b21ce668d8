"""The policy `growth_prune`: the served line grows and is pruned back, without a dense line (after Du et al. 2021)."""

from dataclasses import dataclass

import torch

from recprune.data.features import FeatureSet
from recprune.errors import SettingsError
from recprune.model.line import Line
from recprune.pruning.control import Control
from recprune.pruning.d2s import carve_within
from recprune.pruning.policy import Learn, Lines, Policy, Today
from recprune.pruning.shrink import grow_neurons, swap_inputs


@dataclass(frozen=True, kw_only=True)
class GrowthPrune(Policy):
    """Every r days new neurons and inputs are added at random, learn most of a day, and the worst groups go again.

    Alternate model growth and pruning (Du et al. 2021, arXiv 2105.01064), with our importance and budget. What
    is served is always within the budget: the grown line lives inside one day's pass.
    """

    every: int = 4
    """Days from one growth to the next, r."""
    growth: float = 1.5
    """The grown line's hidden widths and inputs, as multiples of the served line's."""

    def __post_init__(self) -> None:
        """Check the factor."""
        if not 1.0 < self.growth <= 16.0:
            raise SettingsError(f"growth_prune: growth is {self.growth:g}; it must be above 1 and at most 16.")

    def train(self, lines: Lines, control: Control, events: FeatureSet, learn: Learn, today: Today) -> None:
        """Give the line the day's pass; on a day of growth it is grown first and cut as it learns."""
        if (today.number + 1) % self.every:
            super().train(lines, control, events, learn, today)
            return
        seed = today.seed * 1_000_003 + today.number
        lines["served"] = carve_within(grow(lines["served"], self.growth, seed), events, learn, today)


def grow(line: Line, factor: float, seed: int) -> Line:
    """Return a line with wider hidden layers and more inputs, that computes the same.

    New inputs are drawn among those of the vectors that the line reads; where there are fewer, all are added.

    Args:
        line: stays as it is.
        factor: of the widths.
        seed: of what is drawn.
    """
    shape, generator = line.shape, torch.Generator().manual_seed(seed)
    unread = shape.unread()
    few = round((factor - 1.0) * len(shape.inputs))
    order = torch.randperm(len(unread), generator=generator).tolist()
    wider = swap_inputs(line, [], [unread[i] for i in order[:few]])
    for layer in line.origin:
        width = shape.widths()[layer]
        wider = grow_neurons(wider, layer, max(1, round((factor - 1.0) * width)), seed)
    return wider
