"""Policies whose mask stays, is ramped, recomputed or alternates, and a prior: hooks of a training pass.

Each policy is a frozen value. What it remembers lies in the line's masks and extra tensors, and when it acts
follows from the steps that the line has done; so a line that is restored in mid-cycle goes on as if it had
never stopped. Those that drop and grow are in `dynamic_sparse`.
"""

from dataclasses import dataclass

import torch

from recprune.model.network import Tensors
from recprune.pruning.densities import Spread, check_density, global_magnitude, top_masks
from recprune.pruning.masks import apply_masks, check_masks, density, maskable, start_grown
from recprune.training.hooks import NoHook, StepView


def hold(view: StepView, *, changed: bool = False) -> None:
    """Zero gradients off the masks, and where these may be new weights and moments too.

    Adam leaves a weight at exactly zero whose gradient and moments are zero. So weights and moments need it only
    when a pass begins and when a mask was changed: to do it in every step took 12 % of the step.
    """
    if changed or view.begins:
        apply_masks(view.masks, view.gradients, view.weights, view.first, view.second)
    else:
        apply_masks(view.masks, view.gradients)


@torch.no_grad()
def magnitudes(weights: Tensors, masks: Tensors) -> Tensors:
    """Return |w| of each maskable tensor, −1 where a mask has removed it: below a kept weight that is 0."""
    check_masks(masks, weights)
    scores = {name: weights[name].abs() for name in maskable(weights)}
    return {name: torch.where(masks[name], s, -1.0) if name in masks else s for name, s in scores.items()}


def need_masks(policy: object, view: StepView) -> None:
    """Check that a line whose policy starts from a mask has one.

    Raises:
        ValueError: it has none, so that the policy would train a dense network.
    """
    if not view.masks and maskable(view.weights):
        raise ValueError(
            f"{type(policy).__name__} finds no mask at step {view.step} of the line, which would train dense; "
            "give the line the masks of the policy's `begin` first"
        )


def check_counts(policy: object, **counts: int) -> None:
    """Check that counts of steps or outputs are at least 1.

    Raises:
        ValueError: one is not.
    """
    for name, value in counts.items():
        if value < 1:
            raise ValueError(
                f"{type(policy).__name__}: {name} is {value}; a number of steps or outputs must be at least 1"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedMask(NoHook):
    """Keep the mask: g ← M ⊙ g. Weights and moments stay zero off it.

    The baseline that loses on a drifting stream (Ye et al. 2020, arXiv 2010.08655).
    """

    spread: Spread = global_magnitude
    """Divides the density over tensors."""
    block: int = 1
    """Outputs that share a bit of the mask."""

    def __post_init__(self) -> None:
        check_counts(self, block=self.block)

    def begin(self, weights: Tensors, density: float, seed: int) -> Tensors:
        """Return masks of the largest |w|; `apply_masks` them before the first pass."""
        return top_masks(magnitudes(weights, {}), density, self.spread, self.block)

    def before(self, view: StepView) -> None:
        """Hold what is removed at zero."""
        need_masks(self, view)
        hold(view)


@dataclass(frozen=True, kw_only=True, slots=True)
class GradualMagnitude(NoHook):
    """Remove the smallest |w| along a ramp, then keep the mask (Zhu & Gupta 2017, arXiv 1710.01878).

    Sparsity s(u) = s_f·(1 − (1 − u)³), u = (step − start) / steps, s_f = 1 − density; cut every `every`
    steps and at the ramp's end. Nothing that was removed comes back. With `uniform` a tensor may end a
    group short: largest remainders do not shrink in step with their total.
    """

    density: float
    """At the end, in (0, 1]."""
    start: int = 0
    """Step of the line at which the ramp starts, u = 0."""
    steps: int
    """Length of the ramp."""
    every: int = 100
    """Steps between cuts."""
    spread: Spread = global_magnitude
    """Divides the density over tensors: `global_magnitude`, or `uniform` for magnitude per layer."""
    block: int = 1
    """Outputs that share a bit of the mask."""

    def __post_init__(self) -> None:
        check_density(self.density)
        check_counts(self, steps=self.steps, every=self.every, block=self.block)

    def density_at(self, step: int) -> float:
        """Return 1 − s(u) at a step of the line, 1 before the ramp.

        >>> [GradualMagnitude(density=0.5, start=10, steps=4).density_at(step) for step in (10, 12, 14, 99)]
        [1.0, 0.5625, 0.5, 0.5]
        """
        u = min(1.0, max(0.0, (step - self.start) / self.steps))
        return min(1.0, self.density + (1.0 - self.density) * (1.0 - u) ** 3)

    def before(self, view: StepView) -> None:
        """Cut when it is time; hold what is removed at zero.

        Raises:
            ValueError: the ramp is over and the line has no mask.
        """
        since = view.step - self.start
        cuts = 0 <= since <= self.steps and (since % self.every == 0 or since == self.steps)
        if cuts:
            self._cut(view)
        elif since > self.steps and not view.masks and maskable(view.weights):
            raise ValueError(
                f"GradualMagnitude finds no mask at step {view.step} of the line, after its ramp's end at step "
                f"{self.start + self.steps}, and would never prune; start the ramp at a step still to come"
            )
        hold(view, changed=cuts)

    def _cut(self, view: StepView) -> None:
        scores = magnitudes(view.weights, view.masks)
        for name, mask in top_masks(scores, self.density_at(view.step), self.spread, self.block).items():
            view.masks[name] = mask & view.masks[name] if name in view.masks else mask


@dataclass(frozen=True, kw_only=True, slots=True)
class DPF(NoHook):
    """Prune with feedback: W ← W − step(∇L(M ⊙ W)), M the largest |W|, anew every `every` steps.

    Lin et al. 2020 (arXiv 2006.07253). W stays dense: what a removed weight would have learned decides
    whether it returns. Hence whoever scores or exports the line must read `effective`, not its weights.
    The density stays that of `begin`; the paper ramps it.
    """

    every: int = 16
    """Steps between masks; the paper's 16."""
    spread: Spread = global_magnitude
    """Divides the density over tensors."""

    def __post_init__(self) -> None:
        check_counts(self, every=self.every)

    def begin(self, weights: Tensors, density: float, seed: int) -> Tensors:
        """Return masks of the largest |w|; the weights stay dense, nothing is to be applied."""
        return top_masks(magnitudes(weights, {}), density, self.spread)

    def effective(self, weights: Tensors, masks: Tensors) -> Tensors:
        """Return M ⊙ W."""
        check_masks(masks, weights)
        return {name: torch.where(masks[name], w, 0.0) if name in masks else w for name, w in weights.items()}

    def before(self, view: StepView) -> None:
        """Leave gradients as they are: removed weights learn too."""
        need_masks(self, view)

    @torch.no_grad()
    def after(self, view: StepView) -> None:
        """Recompute the masks when it is time."""
        if (view.step + 1) % self.every == 0:
            check_masks(view.masks, view.weights)
            scores = {name: view.weights[name].abs() for name in view.masks}
            view.masks.update(top_masks(scores, density(*view.masks.values()), self.spread))


@dataclass(frozen=True, kw_only=True, slots=True)
class ACDC(NoHook):
    """Alternate compressed and dense phases (Peste et al. 2021, arXiv 2106.12379).

    A compressed phase keeps the largest |w| of its beginning; a dense phase gives every weight back, those
    that were removed from 0. Only what returns gets new moments; the paper resets the momentum of all. A
    pass that ends in a dense phase leaves a dense line behind.
    """

    density: float
    """Of compressed phases, in (0, 1]."""
    start: int = 0
    """Step of the line at which the first compressed phase starts; dense before."""
    compressed: int
    """Steps of a compressed phase."""
    dense: int
    """Steps of a dense phase."""
    end: int | None = None
    """Step from which the line stays compressed; None: it alternates for ever."""
    spread: Spread = global_magnitude
    """Divides the density over tensors."""

    def __post_init__(self) -> None:
        check_density(self.density)
        check_counts(self, compressed=self.compressed, dense=self.dense)

    def is_compressed(self, step: int) -> bool:
        """Say whether a step of the line lies in a compressed phase.

        >>> [ACDC(density=0.5, start=1, compressed=2, dense=1).is_compressed(step) for step in range(6)]
        [False, True, True, False, True, True]
        """
        if self.end is not None and step >= self.end:
            return True
        since = step - self.start
        return since >= 0 and since % (self.compressed + self.dense) < self.compressed

    def before(self, view: StepView) -> None:
        """Cut or give back where a phase starts; hold what is removed at zero."""
        # asked of the masks, not of the step alone: a line may join in the middle of a phase
        has_removed = any(not bool(mask.all()) for mask in view.masks.values())
        cuts = self.is_compressed(view.step) and not has_removed
        if cuts:
            view.masks.update(top_masks(magnitudes(view.weights, view.masks), self.density, self.spread))
        elif has_removed and not self.is_compressed(view.step):
            self._give_back(view)
        hold(view, changed=cuts)

    def _give_back(self, view: StepView) -> None:
        check_masks(view.masks, view.weights)
        for name, mask in view.masks.items():
            start_grown(~mask, mask, view.weights[name], view.first[name], view.second[name])
            view.masks[name] = torch.ones_like(mask)


@dataclass(frozen=True, kw_only=True, slots=True)
class IncrementalPrior(NoHook):
    """Pull the weights towards those of the day's start: g ← g + λ·H ⊙ (w − w₀), of ½(w − w₀)ᵀ·λH·(w − w₀).

    After Ouyang et al. 2021 (arXiv 2108.13299). H is diagonal and fixed for a day: the running squared
    gradient V ← γ·V + (1 − γ)·g² as it was at the day's start, so that no day is its own prior and the first
    one has none. Works with a fixed mask and without; the embedding table has no prior.

    `extra` holds NAME.anchor (w₀), NAME.precision (H) and NAME.square (V).
    """

    strength: float = 1.0
    """λ ≥ 0. g is of a batch's mean loss: g² is about 1/B of the rows' mean squared gradient, the Fisher
    information; with λ = B the past weighs about as much as the day."""
    memory: float = 0.999
    """γ in [0, 1), per step."""

    def __post_init__(self) -> None:
        if not self.strength >= 0 or not 0 <= self.memory < 1:
            raise ValueError(
                f"IncrementalPrior: strength is {self.strength:g} and memory {self.memory:g}; "
                "strength must not be negative and memory must lie in [0, 1)"
            )

    @torch.no_grad()
    def anchor(self, weights: Tensors, extra: Tensors) -> None:
        """Set w₀ and H at the start of a day, before its pass, in `extra`, in place."""
        for name in [name for name in weights if name.endswith((".weight", ".bias"))]:
            square = extra.setdefault(f"{name}.square", torch.zeros_like(weights[name]))
            extra[f"{name}.anchor"] = weights[name].detach().clone()
            extra[f"{name}.precision"] = square.clone()

    @torch.no_grad()
    def before(self, view: StepView) -> None:
        """Add the prior's gradient; learn V from the gradient without it.

        Raises:
            ValueError: no day was started with `anchor`.
        """
        hold(view)
        for name, gradient in view.gradients.items():
            if f"{name}.anchor" not in view.extra:
                raise ValueError(f"{name} has no prior; IncrementalPrior.anchor must be called at the start of a day")
            pull = view.extra[f"{name}.precision"] * (view.weights[name] - view.extra[f"{name}.anchor"])
            view.extra[f"{name}.square"].mul_(self.memory).addcmul_(gradient, gradient, value=1 - self.memory)
            gradient.add_(pull, alpha=self.strength)
