import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recprune.model.checkpoint import load_lines, save_lines
from recprune.model.network import Tensors
from recprune.pruning.densities import uniform
from recprune.pruning.dynamic_sparse import DSL, SET, RigL
from recprune.pruning.masks import apply_masks, density, groups_kept
from recprune.pruning.sparse_training import (
    ACDC,
    DPF,
    FixedMask,
    GradualMagnitude,
    IncrementalPrior,
    magnitudes,
)
from recprune.training.hooks import Hook, NoHook, StepView
from recprune.training.incremental import learn
from tests.networks import TRAIN, events_for, line_of, shape_of
from tests.networks import same as same_line
from tests.pruning.passes import (
    MASKED,
    Slow,
    State,
    advance,
    compare,
    masked,
    removed_is_zero,
    restored,
    same,
    state_of,
)

PLACES = 6 * 5 + 4 * 6
T, F = True, False


def test_magnitudes_rank_what_is_removed_below_a_kept_zero() -> None:
    weights = {"top.0.weight": torch.tensor([[0.0, -3.0], [0.0, 2.0]]), "top.0.bias": torch.ones(2)}
    assert {k: v.tolist() for k, v in magnitudes(weights, {}).items()} == {"top.0.weight": [[0, 3], [0, 2]]}
    masks = {"top.0.weight": torch.tensor([[True, True], [False, True]])}
    assert magnitudes(weights, masks)["top.0.weight"].tolist() == [[0, 3], [-1, 2]]


# fixed mask


def test_a_fixed_mask_starts_with_the_largest_weights_by_hand() -> None:
    weights = {
        "top.0.weight": torch.tensor([[5.0, -4.0], [0.1, 0.2]]),
        "top.1.weight": torch.tensor([[0.3, -6.0], [0.0, 1.0]]),
        "top.2.weight": torch.tensor([[9.0, 9.0]]),
        "top.0.bias": torch.full((2,), 9.0),
    }
    masks = FixedMask().begin(weights, 0.5, 0)
    assert {k: m.tolist() for k, m in masks.items()} == {
        "top.0.weight": [[T, T], [F, F]],
        "top.1.weight": [[F, T], [F, T]],
    }
    one = FixedMask(spread=uniform, block=16).begin(weights, 0.5, 0)
    assert {k: m.tolist() for k, m in one.items()} == {
        "top.0.weight": [[T, F], [T, F]],
        "top.1.weight": [[F, T], [F, T]],
    }


def slow_fixed(slow: Slow) -> None:
    found = slow.gradients(slow.w)
    slow.zero_removed(found, slow.w, slow.m, slow.v)
    slow.adam(found)


@pytest.mark.parametrize("block", [1, 4])
def test_a_fixed_mask_is_the_slow_loop(block: int) -> None:
    hook, state = FixedMask(block=block), state_of()
    masks = hook.begin(state.weights, 0.4, 0)
    before = {name: mask.clone() for name, mask in masks.items()}
    state = compare(hook, masked(state, masks), slow_fixed, 9)
    assert all(torch.equal(state.masks[name], before[name]) for name in MASKED)
    assert removed_is_zero(state)


def test_a_mask_that_was_never_applied_is_applied_by_the_first_step() -> None:
    hook, state = FixedMask(), state_of(step=30)
    state.masks = hook.begin(state.weights, 0.4, 0)
    advance(state, hook, 1)
    assert removed_is_zero(state)


def test_the_removed_weights_of_a_fixed_mask_are_those_of_a_smaller_network() -> None:
    """What is off the mask does not matter, whatever its moments were."""
    hook = FixedMask()
    states = [state_of(0, step=30), state_of(0, step=30)]
    masks = hook.begin(states[0].weights, 0.4, 0)
    for name, mask in masks.items():
        states[1].first[name][~mask] = 7.0
        states[1].second[name][~mask] = 9.0
    for state in states:
        masked(state, dict(masks))
        advance(state, hook, 3)
    assert same(*states)


# gradual magnitude


def slow_gradual(slow: Slow) -> None:
    if slow.step in {3, 7, 10}:  # start 3, 7 steps, every 4, and the end
        u = (slow.step - 3) / 7
        keep = round((1 - 0.75 * (1 - (1 - u) ** 3)) * PLACES)
        slow.masks = slow.largest(keep)
    slow_fixed(slow)


def test_the_ramp_is_the_slow_loop() -> None:
    hook = GradualMagnitude(density=0.25, start=3, steps=7, every=4)
    state = compare(hook, state_of(), slow_gradual, 14)
    assert density(*state.masks.values()) == pytest.approx(0.25, abs=0.5 / PLACES)
    assert removed_is_zero(state)


@pytest.mark.parametrize("block", [1, 4])
def test_nothing_comes_back_along_the_ramp_and_the_mask_is_then_frozen(block: int) -> None:
    hook, state = GradualMagnitude(density=0.2, start=2, steps=10, every=2, block=block), state_of()
    seen = []
    for _ in range(20):
        advance(state, hook, 1)
        seen.append({name: mask.clone() for name, mask in state.masks.items()})
    assert seen[0] == seen[1] == {}
    kept = [sum(groups_kept(m, block) for m in masks.values()) for masks in seen[2:]]
    groups = PLACES if block == 1 else 2 * 5 + 6
    wanted = [round(hook.density_at(2 + 2 * (n // 2)) * groups) for n in range(18)]
    assert kept == wanted
    for earlier, later in pairwise(seen[2:]):
        assert not any(bool((later[name] & ~earlier[name]).any()) for name in MASKED)


def test_magnitude_per_layer_gives_every_layer_the_density() -> None:
    hook, state = GradualMagnitude(density=0.5, steps=2, every=1, spread=uniform), state_of()
    state.weights["top.1.weight"] *= 100
    advance(state, hook, 3)
    assert {name: int(mask.sum()) for name, mask in state.masks.items()} == {MASKED[0]: 15, MASKED[1]: 12}


def test_a_ramp_on_a_line_that_is_carved_already_brings_nothing_back() -> None:
    state = masked(state_of(), FixedMask().begin(state_of().weights, 0.3, 0))
    before = {name: mask.clone() for name, mask in state.masks.items()}
    advance(state, GradualMagnitude(density=0.2, start=0, steps=5, every=5), 1)
    assert all(torch.equal(state.masks[name], before[name]) for name in MASKED)


def test_a_ramp_that_ended_before_the_line_came_raises() -> None:
    told = (
        "GradualMagnitude finds no mask at step 13 of the line, after its ramp's end at step 12, and would never "
        "prune; start the ramp at a step still to come"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        advance(state_of(step=13), GradualMagnitude(density=0.5, start=2, steps=10), 1)


# pruning with feedback


def slow_feedback(slow: Slow) -> None:
    read = {name: np.where(slow.masks[name], w, 0.0) if name in slow.masks else w for name, w in slow.w.items()}
    slow.adam(slow.gradients(read))
    if slow.step % 4 == 0:
        slow.masks = slow.largest(sum(int(mask.sum()) for mask in slow.masks.values()))


def test_pruning_with_feedback_is_the_slow_loop() -> None:
    hook, state = DPF(every=4), state_of()
    state.masks = hook.begin(state.weights, 0.3, 0)
    start = {name: mask.clone() for name, mask in state.masks.items()}
    state = compare(hook, state, slow_feedback, 13)
    came_back = sum(int((state.masks[name] & ~start[name]).sum()) for name in MASKED)
    assert came_back > 0
    assert density(*state.masks.values()) == density(*start.values())
    assert all(bool((state.weights[name] != 0).all()) for name in MASKED)


def test_feedback_reads_masked_weights_and_learns_dense_ones() -> None:
    weights = {"top.0.weight": torch.tensor([[1.0, -2.0]]), "top.0.bias": torch.tensor([3.0])}
    masks = {"top.0.weight": torch.tensor([[True, False]])}
    read = DPF().effective(weights, masks)
    assert read["top.0.weight"].tolist() == [[1, 0]]
    assert read["top.0.bias"] is weights["top.0.bias"]
    assert weights["top.0.weight"].tolist() == [[1, -2]]


# alternating phases


def slow_phases(slow: Slow) -> None:
    """Dense for 2, then compressed for 3 and dense for 2 until 11, compressed from there."""
    small = {2, 3, 4, 7, 8, 9} | set(range(11, 99))
    if slow.step in {2, 7, 11}:
        slow.masks = slow.largest(round(0.3 * PLACES))
    if slow.step in {5, 10}:
        for name, mask in slow.masks.items():
            kept = [tuple(p) for p in np.argwhere(mask)]
            for place in np.argwhere(~mask):
                slow.start(name, tuple(place), kept)
            slow.masks[name] = np.ones_like(mask)
    assert slow.step not in small or any(not mask.all() for mask in slow.masks.values())
    slow_fixed(slow)


def test_alternating_phases_are_the_slow_loop() -> None:
    hook = ACDC(density=0.3, start=2, compressed=3, dense=2, end=11)
    state = compare(hook, state_of(), slow_phases, 16)
    assert density(*state.masks.values()) == pytest.approx(0.3, abs=0.5 / PLACES)
    assert removed_is_zero(state)


def test_what_returns_starts_at_zero_with_the_mean_second_moment() -> None:
    hook, state = ACDC(density=0.3, compressed=1, dense=1), state_of()
    advance(state, hook, 1)
    gone, kept = ~state.masks[MASKED[0]], state.masks[MASKED[0]].clone()
    ones = {name: torch.ones_like(w) for name, w in state.weights.items()}
    view = StepView(1, state.weights, ones, state.first, state.second, state.masks, {})
    wanted = float(state.second[MASKED[0]][kept].mean())
    hook.before(view)
    assert state.weights[MASKED[0]][gone].tolist() == [0.0] * int(gone.sum())
    assert state.first[MASKED[0]][gone].tolist() == [0.0] * int(gone.sum())
    assert state.second[MASKED[0]][gone].tolist() == pytest.approx([wanted] * int(gone.sum()))
    assert bool((view.gradients[MASKED[0]] == 1).all())
    assert bool(state.masks[MASKED[0]].all())


def test_a_line_that_joins_in_the_middle_of_a_compressed_phase_is_cut_at_once() -> None:
    state = state_of(step=5)
    advance(state, ACDC(density=0.3, start=4, compressed=3, dense=2), 1)
    assert density(*state.masks.values()) == pytest.approx(0.3, abs=0.5 / PLACES)


# prior


def slow_prior(strength: float, memory: float, days: int) -> Callable[[Slow], None]:
    kept: dict[str, Any] = {}

    def step(slow: Slow) -> None:
        if slow.step % days == 0:
            kept["anchor"] = {name: w.copy() for name, w in slow.w.items()}
            kept.setdefault("square", {name: np.zeros_like(w) for name, w in slow.w.items()})
            kept["precision"] = {name: v.copy() for name, v in kept["square"].items()}
        found = slow.gradients(slow.w)
        slow.zero_removed(found, slow.w, slow.m, slow.v)
        for name, g in found.items():
            for place in np.ndindex(g.shape):
                square = g[place] ** 2
                pull = strength * kept["precision"][name][place] * (slow.w[name][place] - kept["anchor"][name][place])
                kept["square"][name][place] = memory * kept["square"][name][place] + (1 - memory) * square
                g[place] += pull
        slow.adam(found)

    return step


class Daily(IncrementalPrior):
    """The prior with a day of four steps, as the daily loop would start it."""

    def before(self, view: StepView) -> None:
        if view.step % 4 == 0:
            self.anchor(view.weights, view.extra)
        IncrementalPrior.before(self, view)


@pytest.mark.parametrize("kept", [1.0, 0.4])
def test_the_prior_is_the_slow_loop_with_a_mask_and_without(kept: float) -> None:
    state = state_of()
    if kept < 1:
        state = masked(state, FixedMask().begin(state.weights, kept, 0))
    state = compare(Daily(strength=40.0, memory=0.5), state, slow_prior(40.0, 0.5, 4), 11)
    assert removed_is_zero(state)
    layers = {f"{n}.{end}" for n in state.weights for end in ("anchor", "precision", "square")}
    assert state.extra.keys() == layers


def test_the_priors_gradient_is_that_of_its_penalty() -> None:
    state, prior = state_of(), IncrementalPrior(strength=3.0)
    prior.anchor(state.weights, state.extra)
    for name, w in state.weights.items():
        state.extra[f"{name}.precision"] = torch.rand_like(w)
        w += 0.1
    leaves = {name: w.clone().requires_grad_() for name, w in state.weights.items()}
    penalties = [
        (state.extra[f"{n}.precision"] * (w - state.extra[f"{n}.anchor"]) ** 2).sum() for n, w in leaves.items()
    ]
    wanted = torch.autograd.grad(1.5 * torch.stack(penalties).sum(), list(leaves.values()))
    found = {name: torch.zeros_like(w) for name, w in state.weights.items()}
    prior.before(StepView(9, state.weights, found, state.first, state.second, {}, state.extra))
    for (name, gradient), expected in zip(found.items(), wanted, strict=True):
        torch.testing.assert_close(gradient, expected, msg=name)


def test_the_first_day_has_no_prior() -> None:
    with_prior, without = state_of(), state_of()
    IncrementalPrior(strength=1e6).anchor(with_prior.weights, with_prior.extra)
    advance(with_prior, IncrementalPrior(strength=1e6), 3)
    advance(without, NoHook(), 3)
    for name, w in without.weights.items():
        assert torch.equal(with_prior.weights[name], w)


def test_a_strong_prior_holds_the_weights_near_the_days_start() -> None:
    moved = []
    for strength in (0.0, 1e4):
        state, prior = state_of(), IncrementalPrior(strength=strength, memory=0.5)
        for _ in range(2):
            prior.anchor(state.weights, state.extra)
            advance(state, prior, 30)
        moved.append(sum(float((w - state.extra[f"{n}.anchor"]).abs().sum()) for n, w in state.weights.items()))
    assert moved[1] < 0.3 * moved[0]


def test_the_embedding_table_gets_no_prior() -> None:
    line = line_of(shape_of())
    IncrementalPrior().anchor(line.weights, line.extra)
    assert {name.rpartition(".")[0] for name in line.extra} == set(line.layer_names())
    assert not any(line.extra[f"{n}.anchor"] is line.weights[n] for n in line.layer_names())


def test_a_prior_without_a_day_raises() -> None:
    told = "top.0.weight has no prior; IncrementalPrior.anchor must be called at the start of a day"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        advance(state_of(), IncrementalPrior(), 1)


# what holds for all of them

POLICIES: dict[str, Any] = {
    "fixed": FixedMask(),
    "fixed in blocks": FixedMask(block=4),
    "gmp": GradualMagnitude(density=0.3, start=1, steps=5, every=2),
    "gmp in blocks": GradualMagnitude(density=0.3, start=1, steps=5, every=2, block=4),
    "set": SET(every=2, seed=5),
    "set in blocks": SET(every=2, block=2, seed=5),
    "rigl": RigL(every=2),
    "rigl in blocks": RigL(every=2, block=4),
    "dsl": DSL(every=2, cycle=5),
    "dpf": DPF(every=2),
    "acdc": ACDC(density=0.3, start=1, compressed=3, dense=2),
    "prior": IncrementalPrior(strength=5.0, memory=0.5),
}
NEED_MASKS = ("fixed", "set", "rigl", "dsl", "dpf")


def begun(policy: Any, state: State) -> State:
    """Start a policy like a daily loop does."""
    if hasattr(policy, "begin"):
        state.masks = policy.begin(state.weights, 0.5, 3)
    if hasattr(policy, "anchor"):
        policy.anchor(state.weights, state.extra)
    if not isinstance(policy, DPF):
        apply_masks(state.masks, state.weights, state.first, state.second)
    return state


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@pytest.mark.parametrize("pause", [1, 2, 3, 4])
def test_a_restore_in_mid_cycle_gives_the_same_bytes(policy: Hook, pause: int) -> None:
    whole, parted = begun(policy, state_of()), begun(policy, state_of())
    advance(whole, policy, 7)
    advance(parted, policy, pause)
    parted = restored(parted)
    advance(parted, policy, 7 - pause)
    assert same(parted, whole)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_biases_and_the_last_layer_are_never_masked_and_keep_learning(policy: Hook) -> None:
    state, start = begun(policy, state_of()), state_of()
    for _ in range(6):
        advance(state, policy, 1)
        assert state.masks.keys() <= set(MASKED)
        assert isinstance(policy, DPF) or removed_is_zero(state)
    for name in state.weights.keys() - set(MASKED):
        assert bool((state.weights[name] != start.weights[name]).all())


@pytest.mark.parametrize("name", NEED_MASKS)
def test_a_policy_that_starts_from_a_mask_says_that_there_is_none(name: str) -> None:
    policy = POLICIES[name]
    told = (
        f"{type(policy).__name__} finds no mask at step 8 of the line, which would train dense; "
        "give the line the masks of the policy's `begin` first"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        advance(state_of(step=8), policy, 1)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_a_mask_of_no_tensor_raises(policy: Hook) -> None:
    state = begun(policy, state_of())
    state.masks["top.7.weight"] = torch.ones(2, 2, dtype=torch.bool)
    told = "there is a mask for top.7.weight, but no such tensor; there are "
    with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
        advance(state, policy, 3)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_a_pass_saved_and_loaded_between_days_is_an_uninterrupted_one(policy: Any, workspace: Path) -> None:
    line = line_of(shape_of(top=(8, 8), bottom=(8,)))
    line.step = 0
    moments: tuple[Tensors, Tensors] = (
        {name: line.moments[f"{name}.first"] for name in line.layer_names()},
        {name: line.moments[f"{name}.second"] for name in line.layer_names()},
    )
    if hasattr(policy, "begin"):
        line.masks = policy.begin(line.weights, 0.5, 3)
    if hasattr(policy, "anchor"):
        policy.anchor(line.weights, line.extra)
    if not isinstance(policy, DPF):
        apply_masks(line.masks, line.weights, *moments)
    whole, first = line.copy(), line.copy()
    days = [events_for(line, rows, rows) for rows in (24, 40)]  # 3 and 5 steps
    for n, events in enumerate(days):
        learn(whole, events, TRAIN, n, hook=policy)
    learn(first, days[0], TRAIN, 0, hook=policy)
    save_lines(workspace / "models", "2024-01-01", {"served": first}, {})
    second = load_lines(workspace / "models")[0]["served"]
    learn(second, days[1], TRAIN, 1, hook=policy)
    assert whole.step == 8
    assert same_line(second, whole)
    assert {name: m.tolist() for name, m in second.masks.items()} == {n: m.tolist() for n, m in whole.masks.items()}
    for name, mask in [] if isinstance(policy, DPF) else whole.masks.items():
        assert float(whole.weights[name][~mask].abs().sum()) == 0


@pytest.mark.parametrize(
    ("policy", "fields", "told"),
    [
        (FixedMask, {"block": 0}, "FixedMask: block is 0; a number of steps or outputs must be at least 1"),
        (DPF, {"every": 0}, "DPF: every is 0; a number of steps or outputs must be at least 1"),
        (
            GradualMagnitude,
            {"density": 0.5, "steps": 0},
            "GradualMagnitude: steps is 0; a number of steps or outputs must be at least 1",
        ),
        (
            GradualMagnitude,
            {"density": 0.0, "steps": 5},
            "density is 0; it is the share of weights kept and must lie in (0, 1]",
        ),
        (
            ACDC,
            {"density": 1.2, "compressed": 1, "dense": 1},
            "density is 1.2; it is the share of weights kept and must lie in (0, 1]",
        ),
        (
            ACDC,
            {"density": 0.5, "compressed": 1, "dense": 0},
            "ACDC: dense is 0; a number of steps or outputs must be at least 1",
        ),
        (
            IncrementalPrior,
            {"memory": 1.0},
            "IncrementalPrior: strength is 1 and memory 1; strength must not be negative and memory must lie in [0, 1)",
        ),
        (
            IncrementalPrior,
            {"strength": -1.0},
            (
                "IncrementalPrior: strength is -1 and memory 0.999; "
                "strength must not be negative and memory must lie in [0, 1)"
            ),
        ),
    ],
)
def test_fields_out_of_range_raise(policy: Any, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        policy(**fields)
