import torch

from recprune.model.network import Tensors
from recprune.training.hooks import Hook, NoHook, StepView
from tests.pruning.passes import advance, same, state_of


def view_of(weights: Tensors) -> StepView:
    def like() -> Tensors:
        return {name: torch.ones_like(w) for name, w in weights.items()}

    return StepView(step=3, weights=weights, gradients=like(), first=like(), second=like(), masks={}, extra={})


def test_no_hook_is_a_hook_that_changes_nothing() -> None:
    hook: Hook = NoHook()
    view = view_of({"top.0.weight": torch.ones(2, 3)})
    hook.before(view)
    hook.after(view)
    assert view.step == 3
    assert (view.masks, view.extra) == ({}, {})
    for part in (view.weights, view.gradients, view.first, view.second):
        assert part["top.0.weight"].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_without_a_hook_the_network_reads_the_weights_themselves() -> None:
    weights = {"top.0.weight": torch.ones(2, 3)}
    assert NoHook().effective(weights, {"top.0.weight": torch.zeros(2, 3, dtype=torch.bool)}) is weights


class Doubling(NoHook):
    """Reads the weights doubled, drops the biases' gradients, counts steps in `extra`."""

    def effective(self, weights: Tensors, masks: Tensors) -> Tensors:
        return {name: 2 * w for name, w in weights.items()}

    def before(self, view: StepView) -> None:
        for name, gradient in view.gradients.items():
            if name.endswith(".bias"):
                gradient.zero_()

    def after(self, view: StepView) -> None:
        assert view.gradients == {}
        view.extra["top.0.bias.seen"] = view.extra.get("top.0.bias.seen", torch.zeros(6)) + 1


def test_a_hook_changes_what_is_read_gradients_in_place_and_its_own_tensors() -> None:
    state, other = state_of(), state_of()
    for part in (state.first, other.first):
        for moment in part.values():
            moment.zero_()
    advance(state, Doubling(), 2)
    advance(other, NoHook(), 2)
    start = state_of()
    assert torch.equal(state.weights["top.0.bias"], start.weights["top.0.bias"])
    assert not torch.equal(other.weights["top.0.bias"], start.weights["top.0.bias"])
    assert not torch.equal(state.weights["top.0.weight"], other.weights["top.0.weight"])
    assert state.extra["top.0.bias.seen"].tolist() == [2] * 6
    assert not same(state, other)
