import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.cost import Cost, Flops, Parameters
from recprune.pruning.removal import remove, smallest_cost
from recprune.pruning.shrink import keep_groups
from tests.networks import FAMILIES, PRUNE, dense_shapes, line_of, reading, shape_of, shapes
from tests.pruning.slow_removal import LookUps, can_return, losses_of, slow_removal

OPEN = replace(PRUNE, min_neurons=1, min_inputs=0.0)
FLOPS = Flops()
COSTS: list[Cost] = [FLOPS, Parameters(), LookUps()]
Case = tuple[Line, dict[str, torch.Tensor], Cost, float]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a line, losses, a cost and a target."""
    line = line_of(draw(shapes()), draw(st.integers(0, 99)))
    if draw(st.booleans()):  # ties
        line.importance = {kind: (v * 3).round() for kind, v in line.importance.items()}
    losses = losses_of(line, {kind: draw(st.sampled_from([0.1, 1.0, 5.0])) for kind in line.importance})
    if draw(st.booleans()):  # an importance may lie where the ablation curve is flat
        draws = torch.Generator().manual_seed(draw(st.integers(0, 9)))
        losses = {k: v * (1 + torch.randint(3, v.shape, generator=draws).double()) for k, v in losses.items()}
    cost = draw(st.sampled_from(COSTS))
    return line, losses, cost, draw(st.floats(0.0, 1.0)) * cost(line.shape, line.shape.counts())


@settings(max_examples=200)
@given(cases(), st.integers(1, 3), st.sampled_from([0.0, 0.25, 0.5]))
def test_the_path_is_the_slow_one(case: Case, neurons: int, inputs: float) -> None:
    line, losses, cost, target = case
    floors = replace(PRUNE, min_neurons=neurons, min_inputs=inputs)
    slow = slow_removal(line, losses, cost, target, floors)
    if slow is None:
        told = f"prune.budget asks for {target:,.6g} {cost.unit}, but the floors "
        with pytest.raises(RecpruneError, match=f"^{re.escape(told)}"):
            remove(line, losses, cost, target, floors)
    else:
        found = remove(line, losses, cost, target, floors).kept
        assert {kind: index.tolist() for kind, index in found.items()} == slow


@pytest.mark.parametrize("cost", COSTS, ids=["flops", "parameters", "look-ups"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_path_is_the_slow_one_where_vectors_go_one_after_another(family: str, cost: Cost) -> None:
    """Few inputs a vector, of very different importance: the last reader of one is worth more than it seems."""
    dense = shape_of(5, 1, family=family, embedding=2, bottom=(2,), top=(3,))
    for seed in range(12):
        draw = np.random.default_rng(seed)
        line = line_of(reading(dense, sorted(draw.permutation(dense.inputs)[:9].tolist())), seed)
        line.importance = {k: torch.from_numpy(np.exp(draw.normal(0, 2, len(v)))) for k, v in line.importance.items()}
        losses = losses_of(line)
        if seed % 2:
            losses = {k: v * torch.from_numpy(draw.integers(1, 4, len(v))) for k, v in losses.items()}
        for share in (0.2, 0.35, 0.5, 0.7):
            target = share * cost(line.shape, line.shape.counts())
            slow = slow_removal(line, losses, cost, target, OPEN)
            if slow is not None:
                found = remove(line, losses, cost, target, OPEN)
                assert {kind: index.tolist() for kind, index in found.kept.items()} == slow


def test_a_vector_that_comes_back_is_paid_for_once() -> None:
    # 40 columns of 5 features, 2 neurons: 2·(40·2 + 2) + 5·50 = 414; without c0's 8 columns 332; without a neuron,
    # which saves more than the 50 of a look-up, 266: then c0 returns for 50 + 2 and six more of its columns for 2 each
    line = line_of(shape_of(5, 0, embedding=8, top=(2,), inputs=range(40)))
    first = torch.arange(40) < 8
    line.importance = {"inputs": torch.arange(40) * torch.where(first, 1e-3, 1e3), "top.0": torch.tensor([9.0, 9.0])}
    found = remove(line, losses_of(line), LookUps(), 331, OPEN)
    assert (found.kept["inputs"].tolist(), found.kept["top.0"].tolist()) == (list(range(1, 40)), [1])
    assert found.cost == 266 + 50 + 7 * 2


@settings(max_examples=150)
@given(cases())
def test_delivered_is_within_asked_and_nothing_more_fits(case: Case) -> None:
    line, losses, cost, target = case
    try:
        found = remove(line, losses, cost, target, OPEN)
    except RecpruneError:
        return
    small = keep_groups(line, found.kept)
    assert cost(small.shape, small.shape.counts()) == found.cost <= target
    kept = {kind: index.tolist() for kind, index in found.kept.items()}
    for kind, width in line.shape.widths().items():
        for group in set(range(width)) - set(kept[kind]):
            if can_return(line.shape, kept, kind, group):
                more = keep_groups(line, {**found.kept, kind: torch.tensor(sorted([*kept[kind], group]))})
                assert cost(more.shape, more.shape.counts()) > target


def test_three_neurons_by_hand() -> None:
    # 2 inputs, 3 neurons, 1 logit: 2·(2·3 + 3) = 18 FLOPs; a neuron saves 2·(2 + 1) = 6, an input 2·3 = 6
    line = line_of(shape_of(1, 0, embedding=2, top=(3,)))
    line.importance = {"inputs": torch.tensor([9.0, 8.0]), "top.0": torch.tensor([3.0, 1.0, 2.0])}
    found = remove(line, losses_of(line), FLOPS, 12, OPEN)
    assert {kind: index.tolist() for kind, index in found.kept.items()} == {"inputs": [0, 1], "top.0": [0, 2]}
    assert (found.cost, found.floors) == (12, [])
    dear_neurons = remove(line, losses_of(line, {"top.0": 100.0}), FLOPS, 12, OPEN)
    assert dear_neurons.kept["inputs"].tolist() == [0]
    assert dear_neurons.floors == ["inputs"]


def test_a_cheap_group_that_was_not_needed_comes_back() -> None:
    # 6 columns and a pair, 4 neurons: 2·(7·4 + 4) + 2·3 = 70 FLOPs; a column saves 8, the pair 14
    line = line_of(shape_of(2, 0, embedding=3, top=(4,)))
    line.importance = {"inputs": torch.tensor([1.0, 50, 50, 50, 50, 50, 2.0]), "top.0": torch.full((4,), 1e6)}
    found = remove(line, losses_of(line), FLOPS, 60, OPEN)  # 1/8 < 2/14: column → 62, pair → 48, column → 56
    assert (found.kept["inputs"].tolist(), found.cost) == ([0, 1, 2, 3, 4, 5], 56)


def test_a_pair_goes_before_a_column_that_matters_less_but_saves_less() -> None:
    line = line_of(shape_of(2, 0, embedding=3, top=(4,)))
    line.importance = {"inputs": torch.tensor([1.0, 50, 50, 50, 50, 50, 1.5]), "top.0": torch.full((4,), 1e6)}
    found = remove(line, losses_of(line), FLOPS, 56, OPEN)  # 1.5/14 < 1/8
    assert (found.kept["inputs"].tolist(), found.cost) == ([0, 1, 2, 3, 4, 5], 56)


def test_ties_go_by_kind_and_position_whatever_the_order_of_the_state() -> None:
    line = line_of(shape_of(2, 1, top=(4, 4)))
    line.importance = {kind: torch.ones_like(v) for kind, v in line.importance.items()}
    losses, target = losses_of(line), line.shape.flops() // 3
    found = remove(line, losses, FLOPS, target, OPEN)
    turned = line.copy()
    turned.importance = dict(reversed(line.importance.items()))
    again = remove(turned, losses, FLOPS, target, OPEN)
    assert {k: v.tolist() for k, v in found.kept.items()} == {k: v.tolist() for k, v in again.kept.items()}
    for kind, width in line.shape.widths().items():  # of equal ones the first positions went
        assert found.kept[kind].tolist()[-1] == width - 1


def test_within_the_target_nothing_goes() -> None:
    line = line_of(shape_of())
    found = remove(line, losses_of(line), FLOPS, line.shape.flops(), OPEN)
    assert {k: v.tolist() for k, v in found.kept.items()} == {k: list(range(n)) for k, n in line.shape.widths().items()}
    assert found.cost == line.shape.flops()


def test_floors_hold_and_are_named() -> None:
    line = line_of(shape_of(2, 0, embedding=4, top=(8, 8)))  # 9 inputs
    floors = replace(PRUNE, min_neurons=3, min_inputs=0.5)
    smallest = 2 * (4 * 3 + 3 * 3 + 3)
    line.importance["inputs"][8] = -1  # the pair goes first
    found = remove(line, losses_of(line), FLOPS, smallest, floors)
    assert {kind: len(index) for kind, index in found.kept.items()} == {"inputs": 4, "top.0": 3, "top.1": 3}
    assert (found.cost, found.floors) == (smallest, ["inputs", "top.0", "top.1"])


def test_at_the_floors_inputs_are_exchanged_for_cheaper_ones() -> None:
    """Of two columns and a pair one must stay; the pair matters most, but only a column is cheap enough."""
    line = line_of(shape_of(2, 0, embedding=1, top=()))
    line.importance["inputs"] = torch.tensor([1.0, 2.0, 9.0])
    floors = replace(PRUNE, min_inputs=0.3)
    assert remove(line, losses_of(line), FLOPS, 4, floors).kept["inputs"].tolist() == [2]
    found = remove(line, losses_of(line), FLOPS, 3, floors)
    assert (found.kept["inputs"].tolist(), found.cost) == ([1], 2)


@settings(max_examples=100)
@given(
    dense_shapes(("dlrm", "dcn", "deepfm")).filter(lambda shape: not shape.numeric),
    st.integers(1, 3), st.floats(0.0, 1.0), st.integers(0, 9),
)  # fmt: skip
def test_every_budget_that_the_floors_allow_is_reached(shape: Shape, neurons: int, inputs: float, seed: int) -> None:
    """Without numbers: a tower that only the last of several inputs needs is not exchanged away one by one."""
    line, rules = line_of(shape, seed), replace(PRUNE, min_neurons=neurons, min_inputs=inputs)
    least = smallest_cost(shape, FLOPS, rules)
    assert remove(line, losses_of(line), FLOPS, least, rules).cost <= least


def test_a_budget_below_the_floors_says_what_is_reachable() -> None:
    line = line_of(shape_of(2, 0, embedding=4, top=(8, 8)))
    line.importance["inputs"][8] = -1
    told = (
        "prune.budget asks for 40 FLOPs, but the floors (prune.min_neurons 3, prune.min_inputs 0.5) stop at 48; "
        "raise the budget or lower the floors."
    )
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        remove(line, losses_of(line), FLOPS, 40, replace(PRUNE, min_neurons=3, min_inputs=0.5))
