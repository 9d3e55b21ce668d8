import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recprune.model.network import Tensors
from recprune.pruning.densities import erdos_renyi_kernel, uniform
from recprune.pruning.dynamic_sparse import DSL, SET, RigL
from recprune.pruning.masks import density, groups_kept, start_grown
from recprune.training.hooks import StepView
from tests.pruning.passes import MASKED, Slow, State, advance, compare, masked, removed_is_zero, same, state_of

Groups = list[tuple[int, ...]]


def started(hook: SET, kept: float, seed: int = 0, step: int = 0) -> State:
    state = state_of(seed, step)
    return masked(state, hook.begin(state.weights, kept, seed))


def slow_change(slow: Slow, name: str, share: float, scores: NDArray[np.float64], block: int) -> None:
    """Drop and grow group by group."""
    mask = slow.masks[name]
    rows, columns = mask.shape
    places = {
        (g, c): [(r, c) for r in range(g * block, min(rows, (g + 1) * block))]
        for g in range(-(-rows // block))
        for c in range(columns)
    }

    def mean(values: NDArray[np.float64], group: tuple[int, int]) -> float:
        return float(np.mean([values[p] for p in places[group]]))

    active = [g for g in places if mask[places[g][0]]]
    drop = math.floor(share * len(active))
    stay = sorted(active, key=lambda g: -mean(np.abs(slow.w[name]), g))[: len(active) - drop]
    free = [g for g in places if g not in stay]
    grown = sorted(free, key=lambda g: -mean(scores, g))[:drop]
    new = np.zeros_like(mask)
    for group in [*stay, *grown]:
        for place in places[group]:
            new[place] = True
    kept = [tuple(p) for p in np.argwhere(new & mask)]
    for started_at in np.argwhere(new & ~mask):
        slow.start(name, tuple(started_at), kept)
    slow.masks[name] = new


def slow_loop(every: int, share: Callable[[int], float], block: int, seed: int | None) -> Callable[[Slow], None]:
    """Return a step of SET (with a seed) or RigL (without)."""

    def step(slow: Slow) -> None:
        found = slow.gradients(slow.w)
        if slow.step > 0 and slow.step % every == 0:
            draw = np.random.default_rng((seed or 0, slow.step))
            for name in MASKED:
                scores = np.abs(found[name])
                if seed is not None:
                    rows, columns = slow.masks[name].shape
                    scores = draw.random((-(-rows // block), columns)).repeat(block, 0)[:rows]
                slow_change(slow, name, share(slow.step), scores, block)
        slow.zero_removed(found, slow.w, slow.m, slow.v)
        slow.adam(found)

    return step


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_set_is_the_slow_loop(block: int, kept: float) -> None:
    hook = SET(every=3, share=0.4, seed=11, block=block)
    state = compare(hook, started(hook, kept), slow_loop(3, lambda _: 0.4, block, 11), 11)
    assert removed_is_zero(state)


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_rigl_is_the_slow_loop(block: int, kept: float) -> None:
    hook = RigL(every=3, share=0.4, block=block)
    state = compare(hook, started(hook, kept), slow_loop(3, lambda _: 0.4, block, None), 11)
    assert removed_is_zero(state)


def test_dsl_is_the_slow_loop() -> None:
    hook = DSL(every=2, cycle=7)

    def share(step: int) -> float:
        return 0.005 + 0.495 * 0.5 * (1 + math.cos(math.pi * (step % 7) / 7))

    state = compare(hook, started(hook, 0.5), slow_loop(2, share, 1, None), 15)
    assert density(*state.masks.values()) == 0.5


def test_the_shares_of_dsl_over_a_cycle() -> None:
    shares = [DSL(cycle=1000).share_at(step) for step in range(2000)]
    assert (shares[0], shares[500], shares[1000]) == pytest.approx((0.5, 0.2525, 0.5))
    assert shares[999] == pytest.approx(0.005, abs=1e-5)
    assert shares[:1000] == sorted(shares[:1000], reverse=True)
    assert shares[:1000] == shares[1000:]


@pytest.mark.parametrize("hook", [SET(), RigL()])
def test_set_and_rigl_start_at_random_with_erdos_renyi(hook: SET) -> None:
    state = state_of()
    masks = hook.begin(state.weights, 0.3, 1)
    like = {name: state.weights[name] for name in MASKED}
    assert {name: int(mask.sum()) for name, mask in masks.items()} == erdos_renyi_kernel(like, 0.3)
    assert all(torch.equal(masks[name], hook.begin(state.weights, 0.3, 1)[name]) for name in MASKED)
    assert any(not torch.equal(masks[name], hook.begin(state.weights, 0.3, 2)[name]) for name in MASKED)


def test_dsl_starts_with_one_density() -> None:
    state = state_of()
    masks = DSL(cycle=9).begin(state.weights, 0.5, 1)
    like = {name: state.weights[name] for name in MASKED}
    assert {name: int(mask.sum()) for name, mask in masks.items()} == uniform(like, 0.5)


@settings(max_examples=25)
@given(
    st.sampled_from([SET, RigL]), st.sampled_from([1, 2, 4, 16]), st.floats(0.05, 1), st.floats(0.05, 0.95),
    st.integers(0, 99),
)  # fmt: skip
def test_every_tensor_keeps_its_count_for_ever(
    policy: type[SET], block: int, kept: float, share: float, seed: int
) -> None:
    hook = policy(every=1, share=share, seed=seed, block=block)
    state = started(hook, kept, seed)
    before = {name: groups_kept(mask, block) for name, mask in state.masks.items()}
    advance(state, hook, 4)
    assert {name: groups_kept(mask, block) for name, mask in state.masks.items()} == before
    assert removed_is_zero(state)


def one_layer(mask: list[list[int]], weight: list[list[float]], gradient: list[list[float]]) -> StepView:
    def named(rows: list[list[float]]) -> Tensors:
        return {"top.0.weight": torch.tensor(rows)}

    masks = {"top.0.weight": torch.tensor(mask, dtype=torch.bool)}
    first = named([[0.5 * x for x in row] for row in weight])
    second = named([[x * x for x in row] for row in weight])
    return StepView(100, named(weight), named(gradient), first, second, masks, {})


def test_a_change_by_hand() -> None:
    # α = 0.5 of 4 kept: −1 and 2 go; of what is left, gradients 9 and 7 are the largest: a new one and the 2 again
    view = one_layer([[1, 1, 0], [0, 1, 1]], [[-1.0, 3.0, 0.0], [0.0, 2.0, -4.0]], [[1.0, 5.0, -9.0], [6.0, 7.0, 8.0]])
    RigL(share=0.5).before(view)
    name = "top.0.weight"
    assert view.masks[name].int().tolist() == [[0, 1, 1], [0, 1, 1]]
    assert view.weights[name].tolist() == [[0, 3, 0], [0, 2, -4]]
    assert view.first[name].tolist() == [[0, 1.5, 0], [0, 1, -2]]
    mean = (9 + 4 + 16) / 3
    assert view.second[name].flatten().tolist() == pytest.approx([0, 9, mean, 0, 4, 16])
    assert view.gradients[name].tolist() == [[0, 5, -9], [0, 7, 8]]


@pytest.mark.parametrize("step", [0, 1, 99, 101])
def test_between_changes_the_mask_stays(step: int) -> None:
    view = one_layer([[1, 1, 0], [0, 1, 1]], [[-1.0, 3.0, 0.0], [0.0, 2.0, -4.0]], [[1.0] * 3] * 2)
    view.step = step
    SET().before(view)
    assert view.masks["top.0.weight"].int().tolist() == [[1, 1, 0], [0, 1, 1]]
    assert view.gradients["top.0.weight"].int().tolist() == [[1, 1, 0], [0, 1, 1]]


def test_what_set_grows_follows_from_seed_and_step() -> None:
    found = []
    for seed, step in ((1, 100), (1, 100), (2, 100), (1, 200)):
        view = one_layer([[1] * 8 + [0] * 8] * 4, [[1.0] * 8 + [0.0] * 8] * 4, [[1.0] * 16] * 4)
        view.step = step
        SET(seed=seed).before(view)
        found.append(view.masks["top.0.weight"].tolist())
    assert found[0] == found[1]
    assert len({str(mask) for mask in found}) == 3


def test_a_grown_weights_first_step_is_no_longer_than_the_others() -> None:
    """An old line: with a second moment of zero, the first step would be 0.1 / √0.001 ≈ 3.2 rates long."""
    hook, every = RigL(every=4000, share=0.3), 4000
    state = started(hook, 0.5, step=every)
    before = {name: mask.clone() for name, mask in state.masks.items()}
    for name in MASKED:  # moments of the size that an old line has
        state.second[name] = torch.full_like(state.second[name], 1.0) * before[name]
    advance(state, hook, 1)
    for name in MASKED:
        grown = state.masks[name] & ~before[name]
        assert bool(grown.any())
        assert float(state.weights[name][grown].abs().max()) < 0.05


def test_why_the_second_moment_is_not_zero() -> None:
    weight, rate = torch.zeros(1, 1, dtype=torch.float64), 0.05
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    start_grown(torch.tensor([[True]]), torch.tensor([[False]]), weight, first, second)
    leaf = weight.requires_grad_()
    adam = torch.optim.Adam([leaf], lr=rate, fused=True)
    adam.state[leaf] = {"step": torch.tensor(1e5), "exp_avg": first, "exp_avg_sq": second}
    leaf.grad = torch.full_like(first, 0.7)
    adam.step()
    assert abs(float(leaf.detach())) == pytest.approx(rate * 0.1 / 0.001**0.5, rel=1e-3)


def test_set_and_rigl_part_ways() -> None:
    states = []
    for hook in (SET(every=2), RigL(every=2)):
        state = started(hook, 0.4)
        advance(state, hook, 3)
        states.append(state)
    assert not same(*states)


def test_a_mask_made_with_another_block_raises() -> None:
    state = started(SET(), 0.4)
    told = "a mask is not constant within blocks of 4 outputs; it was made with another block"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        advance(state, SET(every=1, block=4), 2)


@pytest.mark.parametrize(
    ("policy", "fields", "told"),
    [
        (SET, {"every": 0}, "SET: every is 0; a number of steps or outputs must be at least 1"),
        (RigL, {"block": 0}, "RigL: block is 0; a number of steps or outputs must be at least 1"),
        (RigL, {"share": 1.0}, "RigL: share is 1; as a share to drop it lies in (0, 1)"),
        (DSL, {"cycle": 0}, "DSL: cycle is 0; a number of steps or outputs must be at least 1"),
        (DSL, {"cycle": 5, "last_share": 0.6}, "DSL: last_share is 0.6; it lies between 0 and share, 0.5"),
        (DSL, {"cycle": 5, "share": 0.0}, "DSL: share is 0; as a share to drop it lies in (0, 1)"),
    ],
)
def test_fields_out_of_range_raise(policy: Any, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        policy(**fields)
