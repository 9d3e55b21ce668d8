"""A tiny network in float64 in the middle of its life, trained under a hook like `learn` does it, and slowly in numpy.

Legend: B rows of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from recprune.model.network import Tensors
from recprune.pruning.masks import apply_masks
from recprune.training.hooks import Hook, StepView

SIZES = {"top.0": (6, 5), "top.1": (4, 6), "top.2": (1, 4)}  # outputs, inputs
MASKED = ["top.0.weight", "top.1.weight"]
RATE, BETA_1, BETA_2, EPS = 0.05, 0.9, 0.999, 1e-8
Arrays = dict[str, NDArray[np.float64]]
Bits = dict[str, NDArray[np.bool_]]


@dataclass
class State:
    """What a line carries, in torch."""

    step: int
    weights: Tensors
    first: Tensors
    second: Tensors
    masks: Tensors = field(default_factory=dict)
    extra: Tensors = field(default_factory=dict)

    def parts(self) -> dict[str, Tensors]:
        names = ("weights", "first", "second", "masks", "extra")
        return {name: getattr(self, name) for name in names}


def state_of(seed: int = 0, step: int = 0) -> State:
    """Return a state whose every tensor is random, second moments positive."""
    draw = torch.Generator().manual_seed(seed)

    def drawn(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=draw, dtype=torch.float64)

    weights = {f"{n}.weight": 0.5 * drawn(*size) for n, size in SIZES.items()}
    weights |= {f"{n}.bias": 0.5 * drawn(size[0]) for n, size in SIZES.items()}
    first = {name: 0.01 * drawn(*w.shape) for name, w in weights.items()}
    second = {name: 1e-3 * drawn(*w.shape) ** 2 for name, w in weights.items()}
    return State(step, weights, first, second)


def masked(state: State, masks: Tensors) -> State:
    """Give a state masks and zero what they remove."""
    state.masks = masks
    apply_masks(masks, state.weights, state.first, state.second)
    return state


def gradients(weights: Tensors, step: int) -> Tensors:
    """Return the gradient of the mean square loss on the step's own batch, by the given weights."""
    draw = torch.Generator().manual_seed(1000 + step)
    x = torch.randn(12, 5, generator=draw, dtype=torch.float64)  # (B, 5)
    y = torch.randn(12, 1, generator=draw, dtype=torch.float64)
    leaves = {name: w.detach().clone().requires_grad_() for name, w in weights.items()}
    for layer in SIZES:
        x = torch.nn.functional.linear(x, leaves[f"{layer}.weight"], leaves[f"{layer}.bias"])
        x = x if layer == "top.2" else torch.tanh(x)
    return dict(zip(leaves, torch.autograd.grad(((x - y) ** 2).mean(), list(leaves.values())), strict=True))


def advance(state: State, hook: Hook, steps: int) -> None:
    """Take steps with torch's fused Adam and the hook, in place."""
    layers = {name: w.requires_grad_() for name, w in state.weights.items()}
    adam = torch.optim.Adam(layers.values(), lr=RATE, fused=True)
    for name, w in layers.items():
        moments = {"exp_avg": state.first[name], "exp_avg_sq": state.second[name]}
        adam.state[w] = {"step": torch.tensor(float(state.step)), **moments}
    for number in range(steps):
        found = gradients(hook.effective(layers, state.masks), state.step)
        for name, w in layers.items():
            w.grad = found[name]
        view = StepView(state.step, layers, found, state.first, state.second, state.masks, state.extra, number == 0)
        hook.before(view)
        adam.step()
        view.gradients = {}
        hook.after(view)
        state.step += 1
    state.weights = {name: w.detach() for name, w in layers.items()}


def restored(state: State) -> State:
    """Return the state as it comes back from bytes; the dictionaries have another order, as they may."""
    parts = {part: load(save(tensors)) for part, tensors in state.parts().items()}
    return State(state.step, **{part: dict(sorted(tensors.items(), reverse=True)) for part, tensors in parts.items()})


def same(first: State, second: State) -> bool:
    """Say whether two states are equal to the last bit."""
    ours, theirs = first.parts(), second.parts()
    names = all(ours[part].keys() == theirs[part].keys() for part in ours)
    return names and all(
        tensor.numpy().tobytes() == theirs[part][name].numpy().tobytes()
        for part, tensors in ours.items()
        for name, tensor in tensors.items()
    )


class Slow:
    """The same state in numpy, with Adam written out (Kingma & Ba 2015, algorithm 1)."""

    def __init__(self, state: State) -> None:
        def arrays(tensors: Tensors) -> Arrays:
            return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}

        self.step = state.step
        self.w, self.m, self.v = arrays(state.weights), arrays(state.first), arrays(state.second)
        self.masks: Bits = {name: mask.numpy().copy() for name, mask in state.masks.items()}

    def gradients(self, read: Arrays) -> Arrays:
        found = gradients({name: torch.from_numpy(w) for name, w in read.items()}, self.step)
        return {name: g.numpy().copy() for name, g in found.items()}

    def zero_removed(self, *parts: Arrays) -> None:
        for name, mask in self.masks.items():
            for part in parts:
                for place in np.ndindex(mask.shape):
                    if not mask[place]:
                        part[name][place] = 0.0

    def adam(self, found: Arrays) -> None:
        self.step += 1
        for name, g in found.items():
            self.m[name] = BETA_1 * self.m[name] + (1 - BETA_1) * g
            self.v[name] = BETA_2 * self.v[name] + (1 - BETA_2) * g**2
            mean, square = self.m[name] / (1 - BETA_1**self.step), self.v[name] / (1 - BETA_2**self.step)
            self.w[name] = self.w[name] - RATE * mean / (np.sqrt(square) + EPS)

    def start(self, name: str, place: tuple[int, ...], kept: list[tuple[int, ...]]) -> None:
        """Start a grown weight."""
        self.w[name][place], self.m[name][place] = 0.0, 0.0
        self.v[name][place] = np.mean([self.v[name][p] for p in kept])

    def largest(self, count: int) -> Bits:
        """Return masks of the largest |w| over all masked tensors."""
        places = [(-abs(self.w[name][p]), name, p) for name in MASKED for p in np.ndindex(self.w[name].shape)]
        masks = {name: np.zeros(self.w[name].shape, bool) for name in MASKED}
        for _, name, place in sorted(places)[:count]:
            masks[name][place] = True
        return masks


def agree(fast: State, slow: Slow) -> None:
    """Assert that torch and numpy ended alike: masks to the bit, numbers to rounding."""
    assert fast.step == slow.step
    assert {n: m.tolist() for n, m in fast.masks.items()} == {n: m.tolist() for n, m in slow.masks.items()}
    for ours, theirs in ((fast.weights, slow.w), (fast.first, slow.m), (fast.second, slow.v)):
        for name, array in theirs.items():
            np.testing.assert_allclose(ours[name].numpy(), array, rtol=1e-9, atol=1e-12)


def compare(hook: Hook, state: State, slow_step: Callable[[Slow], None], steps: int) -> State:
    """Run both for so many steps, comparing after each; returns the end."""
    slow = Slow(state)
    for _ in range(steps):
        advance(state, hook, 1)
        slow_step(slow)
        agree(state, slow)
    return state


def removed_is_zero(state: State) -> bool:
    """Say whether weights and moments are +0 to the bit off the masks."""
    parts = (state.weights, state.first, state.second)
    return all(not part[n][~mask].numpy().tobytes().strip(b"\0") for n, mask in state.masks.items() for part in parts)
