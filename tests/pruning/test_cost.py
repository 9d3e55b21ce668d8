from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.model.shape import Shape
from recprune.pruning.cost import Cost, Flops, Parameters
from recprune.pruning.removal import remove
from recprune.pruning.shrink import keep_groups
from tests.networks import FAMILIES, PRUNE, line_of, shape_of, shapes
from tests.pruning.slow_removal import losses_of

COSTS: list[Cost] = [Flops(), Parameters()]


@pytest.mark.parametrize(("family", "flops", "parameters"), [
    # numbers 2·4 + 4·3 weights; 9 columns, 3 pairs of 3 products; tower on 12 or on 9 inputs, 5 neurons
    ("dlrm", 2 * (20 + 65) + 3 * 6, 20 + 7 + 65 + 6),
    ("dcn", 2 * (20 + 50 + 2 * 81) + 2 * 2 * 9, 20 + 7 + 50 + 6 + 2 * (81 + 9)),
    ("deepfm", 2 * (20 + 50 + 12) + 3 * 6, 20 + 7 + 50 + 6 + 12 + 1),
    # four projections of 3·3 for each of 3 vectors; scores and mixing 2·2·3·3·3
    ("autoint", 2 * (20 + 50 + 3 * 4 * 9) + 4 * 27, 20 + 7 + 50 + 6 + 4 * (9 + 3)),
])  # fmt: skip
def test_costs_by_hand(family: str, flops: int, parameters: int) -> None:
    shape = shape_of(2, 1, family=family, top=(5,))
    assert Flops()(shape, shape.counts()) == shape.flops() == flops
    assert Parameters()(shape, shape.counts()) == parameters


@settings(max_examples=60)
@given(shapes())
def test_parameters_are_those_that_a_line_has(shape: Shape) -> None:
    line = line_of(shape)
    held = sum(line.weights[name].numel() for name in line.layer_names())
    assert Parameters()(shape, shape.counts()) == held


@settings(max_examples=60)
@given(shapes(), st.sampled_from(COSTS))
def test_a_cost_depends_on_counts_alone(shape: Shape, cost: Cost) -> None:
    """The dense shape gives family, widths of vectors and numbers; what is left of it, the counts say."""
    dense = replace(shape, inputs=tuple(range(shape.all_inputs)), attended=tuple(range(len(shape.vectors))))
    assert cost(dense if shape.attended else replace(dense, attended=()), shape.counts()) == cost(shape, shape.counts())


@pytest.mark.parametrize("cost", COSTS, ids=["flops", "parameters"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_removal_by_any_cost_reaches_half(family: str, cost: Cost) -> None:
    line = line_of(shape_of(3, 2, family=family, embedding=4, bottom=(6,), top=(12, 8), heads=2))
    half = cost(line.shape, line.shape.counts()) / 2
    rules = replace(PRUNE, min_neurons=1, min_inputs=0.0)
    small = keep_groups(line, remove(line, losses_of(line), cost, half, rules).kept).shape
    least = 0 if family == "autoint" else 0.8 * half  # whole vectors do not come back
    assert least < cost(small, small.counts()) <= half
