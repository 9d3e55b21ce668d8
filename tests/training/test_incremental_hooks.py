"""Hooks inside a pass: when they are called, what they see, what becomes of what they change."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError
from recprune.model import network
from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.line import Line, learn_scale
from recprune.model.network import Tensors
from recprune.pruning.sparse_training import GradualMagnitude
from recprune.training.hooks import NoHook, StepView
from recprune.training.incremental import learn
from tests.networks import FAMILIES, TRAIN, events_for, line_of, same, shape_of


def clones(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


class Recorder(NoHook):
    """Writes down every call and what it was shown; the network reads the weights times 1.5."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.weights: list[Tensors] = []
        self.gradients: list[Tensors] = []
        self.moments: list[tuple[Tensors, Tensors]] = []

    def effective(self, weights: Tensors, masks: Tensors) -> Tensors:
        self.calls.append(("effective", 7 + len(self.gradients)))
        return {name: 1.5 * w if name.endswith(".weight") else w for name, w in weights.items()}

    def before(self, view: StepView) -> None:
        self._note("before", view)
        self.gradients.append(clones(view.gradients))

    def after(self, view: StepView) -> None:
        self._note("after", view)
        assert view.gradients == {}

    def _note(self, when: str, view: StepView) -> None:
        assert not torch.is_grad_enabled()
        self.calls.append((when, view.step))
        self.weights.append(clones(view.weights))
        self.moments.append((clones(view.first), clones(view.second)))


def expected_gradients(line: Line, part: FeatureSet, factor: float) -> Tensors:
    """Return the gradient of the mean loss by the weights that the network reads."""
    read = {n: (factor if n.endswith(".weight") else 1.0) * line.weights[n] for n in line.layer_names()}
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in read.items()}
    embedded = line.weights["embedding"][line.look_up(torch.from_numpy(part.ids))[0]]
    logit = network.logits(line.shape, leaves, embedded, line.standardize(torch.from_numpy(part.numbers)))
    loss = functional.binary_cross_entropy_with_logits(logit, torch.from_numpy(part.label))
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def test_the_order_of_calls_and_the_steps_of_the_lines_whole_life() -> None:
    line, hook = line_of(shape_of()), Recorder()
    learn(line, events_for(line, 20), TRAIN, seed=0, hook=hook)
    assert hook.calls == [(when, step) for step in (7, 8, 9) for when in ("effective", "before", "after")]
    assert line.step == 10


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_by_what_the_network_read(family: str) -> None:
    line, hook = line_of(shape_of(family=family)), Recorder()
    events, start = events_for(line, 8), line_of(shape_of(family=family))
    learn_scale(start, events.numbers)
    learn(line, events, TRAIN, seed=0, hook=hook)
    expected = expected_gradients(start, events, 1.5)
    assert list(hook.gradients[0]) == start.layer_names()
    for name, gradient in expected.items():
        torch.testing.assert_close(hook.gradients[0][name], gradient, rtol=1e-4, atol=1e-7)


def test_before_sees_the_old_state_and_after_the_new_one() -> None:
    line, start, hook = line_of(shape_of()), line_of(shape_of()), Recorder()
    learn(line, events_for(line, 8), TRAIN, seed=0, hook=hook)
    for name in start.layer_names():
        assert torch.equal(hook.weights[0][name], start.weights[name])
        assert torch.equal(hook.weights[1][name], line.weights[name])
        assert not torch.equal(hook.weights[0][name], hook.weights[1][name])
        for part, moment in enumerate(("first", "second")):
            assert torch.equal(hook.moments[0][part][name], start.moments[f"{name}.{moment}"])
            assert torch.equal(hook.moments[1][part][name], line.moments[f"{name}.{moment}"])
        expected = 0.9 * start.moments[f"{name}.first"] + 0.1 * hook.gradients[0][name]
        torch.testing.assert_close(hook.moments[1][0][name], expected, rtol=1e-4, atol=1e-8)


class Holder(NoHook):
    """Holds a row of a weight at zero, with its optimizer state, and says so in masks and in a tensor of its own."""

    name = "top.0.weight"

    def before(self, view: StepView) -> None:
        view.masks[self.name] = torch.ones_like(view.weights[self.name], dtype=torch.bool)
        view.masks[self.name][1] = False
        view.extra.setdefault(f"{self.name}.steps", torch.zeros_like(view.weights[self.name])).add_(1)
        for tensor in (view.gradients[self.name], view.weights[self.name], view.first[self.name]):
            tensor[1] = 0


def test_what_a_hook_changes_is_changed_in_the_line_and_saved_with_it(workspace: Path) -> None:
    line = line_of(shape_of())
    learn(line, events_for(line, 20), TRAIN, seed=0, hook=Holder())
    assert line.weights["top.0.weight"][1].abs().sum() == 0
    assert line.weights["top.0.weight"][0].abs().sum() > 0
    assert line.moments["top.0.weight.first"][1].abs().sum() == 0
    assert line.masks["top.0.weight"].float().mean(1).tolist() == [1, 0, 1, 1, 1]
    assert set(line.extra["top.0.weight.steps"].flatten().tolist()) == {3}
    save_lines(workspace / "models", "2024-01-01", {"served": line}, {})
    found = load_lines(workspace / "models")[0]["served"]
    assert same(found, line)
    assert found.masks.keys() == {"top.0.weight"}


def test_a_hook_that_does_nothing_changes_nothing() -> None:
    line, other = line_of(shape_of()), line_of(shape_of())
    learn(line, events_for(line, 30), TRAIN, seed=0, hook=NoHook())
    learn(other, events_for(line, 30), TRAIN, seed=0)
    assert same(line, other)


def test_a_batch_that_is_not_finite_never_reaches_the_hook() -> None:
    line, hook = line_of(shape_of(1, 0)), Holder()
    events = events_for(line, 16)
    events.label[np.random.default_rng(0).permutation(16)[12]] = np.nan  # in the second batch
    with pytest.raises(NotFiniteError):
        learn(line, events, TRAIN, seed=0, hook=hook)
    assert set(line.extra["top.0.weight.steps"].flatten().tolist()) == {1}


@pytest.mark.parametrize("family", FAMILIES)
def test_save_load_continue_under_a_hook_is_an_uninterrupted_run(family: str, workspace: Path) -> None:
    whole = line_of(shape_of(family=family))
    days = [events_for(whole, 30, seed) for seed in (1, 2)]
    hook = GradualMagnitude(density=0.3, start=8, steps=5, every=1)
    first = whole.copy()
    for n, events in enumerate(days):
        learn(whole, events, TRAIN, seed=n, hook=hook)
    learn(first, days[0], TRAIN, seed=0, hook=hook)
    save_lines(workspace / "models", "2024-01-01", {"served": first}, {})
    second = load_lines(workspace / "models")[0]["served"]
    learn(second, days[1], TRAIN, seed=1, hook=hook)
    assert same(second, whole)
    assert whole.masks
    kept = sum(int(mask.sum()) for mask in whole.masks.values())
    assert kept <= 0.3 * sum(mask.numel() for mask in whole.masks.values()) + 1
    assert all(whole.weights[name][~mask].abs().sum() == 0 for name, mask in whole.masks.items())
