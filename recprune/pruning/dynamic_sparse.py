"""Policies that drop and grow single weights for ever: SET, RigL, DSL, as hooks of a training pass."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recprune.model.network import Tensors
from recprune.pruning.densities import Spread, erdos_renyi_kernel, uniform
from recprune.pruning.masks import check_masks, drop_and_grow, groups_kept, random_mask, random_scores, start_grown
from recprune.pruning.sparse_training import check_counts, hold, magnitudes, need_masks
from recprune.training.hooks import NoHook, StepView


@dataclass(frozen=True, kw_only=True, slots=True)
class SET(NoHook):
    """Every `every` steps drop the ⌊α·kept⌋ smallest |w| of each masked tensor and grow as many at random.

    Mocanu et al. 2018 (arXiv 1707.04780). Grown weights start at 0 (the paper: at random). What is drawn
    follows from the seed and the step alone.
    """

    every: int = 100
    """Steps between changes, ΔT; never at the line's first step."""
    share: float = 0.3
    """α in (0, 1)."""
    seed: int = 0
    """Of what grows."""
    spread: Spread = erdos_renyi_kernel
    """Divides the density over tensors at the beginning; each then keeps its count."""
    block: int = 1
    """Outputs that share a bit of the mask."""

    def __post_init__(self) -> None:
        check_counts(self, every=self.every, block=self.block)
        if not 0 < self.share < 1:
            raise ValueError(f"{type(self).__name__}: share is {self.share:g}; as a share to drop it lies in (0, 1)")

    def begin(self, weights: Tensors, density: float, seed: int) -> Tensors:
        """Return random masks; `apply_masks` them before the first pass."""
        scores, draw = magnitudes(weights, {}), np.random.default_rng(seed)
        keep = self.spread(scores, density, self.block)
        return {name: random_mask(scores[name].shape, keep[name], draw, self.block) for name in scores}

    def before(self, view: StepView) -> None:
        """Drop and grow when it is time; hold what is removed at zero.

        The step that follows already moves what has grown. Evci et al. skip it; here every row is learned
        once, and would be lost.
        """
        need_masks(self, view)
        moves = view.step > 0 and view.step % self.every == 0
        if moves:
            self._move(view)
        hold(view, changed=moves)

    @torch.no_grad()
    def _move(self, view: StepView) -> None:
        check_masks(view.masks, view.weights)
        draw = np.random.default_rng((self.seed, view.step))
        for name in sorted(view.masks):  # a restored dictionary may have another order, and draws go by it
            mask, weight = view.masks[name], view.weights[name]
            drop = int(self.share_at(view.step) * groups_kept(mask, self.block))
            new, _, grown = drop_and_grow(mask, weight.abs(), drop, self.grow_scores(view, name, draw), self.block)
            start_grown(grown, mask & new, weight, view.first[name], view.second[name])
            view.masks[name] = new

    def share_at(self, step: int) -> float:
        """Return α at a step of the line."""
        return self.share

    def grow_scores(self, view: StepView, name: str, draw: np.random.Generator) -> Tensor:
        """Return what a tensor grows by."""
        weight = view.weights[name]
        return random_scores(weight.shape, draw, self.block).to(weight.device)  # drawn alike for all devices


@dataclass(frozen=True, kw_only=True, slots=True)
class RigL(SET):
    """SET that grows by |∂L/∂w| of the batch, removed weights included (Evci et al. 2020, arXiv 1911.11134).

    α is constant and changes never stop, for a stream never ends; the paper lets α fall to 0.
    """

    def grow_scores(self, view: StepView, name: str, draw: np.random.Generator) -> Tensor:
        """Return |g|, dense."""
        return view.gradients[name].abs()


@dataclass(frozen=True, kw_only=True, slots=True)
class DSL(RigL):
    """RigL per tensor, sparse from scratch, α by a cosine (Wang et al. 2024, arXiv 2402.02855).

    α(step) = α₁ + ½·(α₀ − α₁)·(1 + cos(π·(step mod cycle) / cycle)). The paper has one cycle over the whole
    training, at density 0.5; on a stream it starts again.
    """

    share: float = 0.5
    """α₀, at a cycle's start."""
    last_share: float = 0.005
    """α₁, at its end."""
    cycle: int
    """Steps of a cycle."""
    spread: Spread = uniform

    def __post_init__(self) -> None:
        RigL.__post_init__(self)
        check_counts(self, cycle=self.cycle)
        if not 0 <= self.last_share <= self.share:
            raise ValueError(f"DSL: last_share is {self.last_share:g}; it lies between 0 and share, {self.share:g}")

    def share_at(self, step: int) -> float:
        """Return α at a step of the line.

        >>> [round(DSL(cycle=100).share_at(step), 4) for step in (0, 50, 99, 100)]
        [0.5, 0.2525, 0.0051, 0.5]
        """
        turn = math.pi * (step % self.cycle) / self.cycle
        return self.last_share + (self.share - self.last_share) * (1 + math.cos(turn)) / 2
