"""Policies on single weights, for research: ONNX Runtime runs their networks at exactly dense speed.

The network keeps the dense shape; masks keep the budget's share of the layers' weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from recprune.data.features import FeatureSet
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape
from recprune.pruning.budget import Budget
from recprune.pruning.control import Control
from recprune.pruning.densities import uniform
from recprune.pruning.dynamic_sparse import DSL, SET, RigL
from recprune.pruning.masks import apply_masks
from recprune.pruning.policy import Learn, Lines, Pace, Policy, Today
from recprune.pruning.sparse_training import ACDC, DPF, GradualMagnitude, IncrementalPrior
from recprune.training.hooks import Hook


@dataclass(frozen=True, kw_only=True)
class Masked(Policy):
    """A dense shape under masks from the first day; `gmp`, `set`, `rigl`, `dsl`, `dpf`, `acdc` differ in the hook."""

    method: str
    block: int = 1
    """Outputs that share a bit of the mask."""

    def begin(self, dense: Shape, sizes: Sequence[int], budget: Budget, seed: int) -> Line:
        """Return the untrained line, masked at once where the method is sparse from scratch."""
        line = new_line(dense, sizes, seed)
        pace = Pace(steps_a_day=1, warm_days=0, carve_days=1, share=budget.share, seed=seed)
        hook = self.hook("served", pace)
        if isinstance(hook, SET | DPF):  # RigL and DSL are kinds of SET
            line.masks = hook.begin({n: line.weights[n] for n in line.layer_names()}, budget.share, seed)
            if not isinstance(hook, DPF):
                apply_masks(line.masks, line.weights)
        return line

    def hook(self, name: str, pace: Pace) -> Hook:
        """Return the method's hook."""
        start, ramp = pace.warm_days * pace.steps_a_day, pace.carve_days * pace.steps_a_day
        often = max(1, pace.steps_a_day)
        match self.method:
            case "gmp":
                every = max(1, ramp // 16)
                return GradualMagnitude(density=pace.share, start=start, steps=ramp, every=every, block=self.block)
            case "acdc":
                return ACDC(density=pace.share, start=start, compressed=often, dense=often, end=start + ramp)
            case "dpf":
                return DPF(spread=uniform)
            case "set":
                return SET(seed=pace.seed, block=self.block)
            case "rigl":
                return RigL(seed=pace.seed, block=self.block)
            case "dsl":
                return DSL(seed=pace.seed, cycle=max(2, 28 * often))
        raise ValueError(f"no method {self.method}")


@dataclass(frozen=True, kw_only=True)
class Prior(Policy):
    """The fixed mask with a prior that pulls every day's weights towards those it began with."""

    strength: float = 256.0
    """λ; the batch size lets the past weigh about as much as the day."""

    def hook(self, name: str, pace: Pace) -> Hook | None:
        """Return the prior for the served line."""
        return IncrementalPrior(strength=self.strength) if name == "served" else None

    def train(self, lines: Lines, control: Control, events: FeatureSet, learn: Learn, today: Today) -> None:
        """Set the prior's anchor, then give each line the day's pass."""
        if "served" in lines:
            served = lines["served"]
            IncrementalPrior(strength=self.strength).anchor(
                {n: served.weights[n] for n in served.layer_names()}, served.extra
            )
        super().train(lines, control, events, learn, today)
