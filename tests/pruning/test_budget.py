import re
from dataclasses import replace
from itertools import chain, combinations, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recprune.errors import RecpruneError, SettingsError
from recprune.model.shape import Shape
from recprune.pruning.budget import budget_for
from recprune.pruning.cost import Cost, Flops, Parameters
from recprune.pruning.removal import remove, smallest_cost
from recprune.settings import PruneSettings
from tests.networks import FAMILIES, PRUNE, dense_shapes, line_of, reading, shape_of
from tests.pruning.slow_removal import LookUps, floors_of, losses_of

ANY: list[Cost] = [Flops(), Parameters(), LookUps()]
SMALL = shape_of(2, 1, embedding=3, bottom=(4,), top=(5,))


def test_a_budget_is_a_share_of_what_the_dense_network_costs() -> None:
    budget = budget_for(SMALL, replace(PRUNE, budget=0.5, min_neurons=1))
    assert (budget.dense, budget.limit, budget.share) == (188, 94, 0.5)
    assert budget.of(replace(SMALL, inputs=(3,), bottom=())) == 2 * (1 * 5 + 5)
    assert budget.at(1.0) == 188
    assert budget.at(0.75) == 141


def test_a_budget_of_parameters() -> None:
    budget = budget_for(SMALL, replace(PRUNE, budget=0.5, min_neurons=1, cost="parameters"))
    assert (budget.dense, budget.limit) == (2 * 4 + 4 + 4 * 3 + 3 + 12 * 5 + 5 + 5 + 1, 49)


@pytest.mark.parametrize(("cost", "told"), [
    ("flops", ("630 of the dense network's 12,592 FLOPs, but the floors (prune.min_neurons 16, "
               "prune.min_inputs 0.25) leave at least 1,152, a budget of 0.0915")),
    ("parameters", ("312 of the dense network's 6,233 parameters, but the floors (prune.min_neurons 16, "
                    "prune.min_inputs 0.25) leave at least 609, a budget of 0.0977")),
])  # fmt: skip
def test_a_budget_below_the_floors_says_what_is_reachable(cost: str, told: str) -> None:
    # 7 vectors of 8 columns and 21 pairs: 77 inputs, of which 19 stay, none of them the numbers'; 2·(19 + 16 + 1)·16
    dense = shape_of(6, 1, embedding=8, bottom=(16,), top=(64, 16))
    rules = replace(PRUNE, budget=0.05, min_neurons=16, min_inputs=0.25, cost=cost)  # type: ignore[arg-type]
    whole = f"params.yaml: prune.budget is 0.05, {told}: raise the budget or lower the floors."
    with pytest.raises(SettingsError, match=f"^{re.escape(whole)}$"):
        budget_for(dense, rules)
    reachable = float(re.findall(r"a budget of (0\.\d+)", told)[0]) + 0.0001
    budget_for(dense, replace(rules, budget=reachable))


def brute(dense: Shape, cost: Cost, rules: PruneSettings) -> float:
    """Return the least cost of all networks at the floors, every choice of inputs tried."""
    floors = floors_of(dense, rules)
    for kind, floor in floors.items():
        if kind.startswith(("top", "bottom")):
            dense = dense.resized(kind, floor)
    every = range(len(dense.attended) + 1)
    attended = chain.from_iterable(combinations(dense.attended, n) for n in every) if dense.attended else [()]
    least = float("inf")
    for vectors, inputs in product(attended, combinations(dense.inputs, floors["inputs"])):
        if dense.attended and not {v for i in inputs for v in dense.vectors_of(i)} <= set(vectors):
            continue
        shape = reading(dense, inputs, vectors or None)
        least = min(least, cost(shape, shape.counts()))
    return least


tiny = dense_shapes().filter(lambda shape: shape.all_inputs <= 9)


@settings(max_examples=80)
@given(tiny, st.sampled_from(ANY), st.integers(1, 3), st.sampled_from([0.0, 0.25, 0.4, 0.7, 1.0]))
@example(shape_of(2, 1, embedding=1), ANY[0], 4, 0.0)  # without the numbers
@example(shape_of(2, 1, embedding=1), ANY[0], 4, 0.5)  # … a pair must make up for their column
@example(shape_of(3, 0, embedding=1, family="deepfm"), ANY[1], 4, 0.5)  # pairs are cheaper
def test_the_smallest_cost_is_that_of_the_cheapest_network_at_the_floors(
    dense: Shape, cost: Cost, neurons: int, inputs: float
) -> None:
    rules = replace(PRUNE, min_neurons=neurons, min_inputs=inputs)
    assert smallest_cost(dense, cost, rules) == brute(dense, cost, rules)


@settings(max_examples=80)
@given(dense_shapes(), st.sampled_from(ANY), st.integers(1, 3), st.floats(0.0, 1.0), st.integers(0, 9))
def test_no_removal_goes_below_the_smallest_cost(
    dense: Shape, cost: Cost, neurons: int, inputs: float, seed: int
) -> None:
    line, rules = line_of(dense, seed), replace(PRUNE, min_neurons=neurons, min_inputs=inputs)
    least = smallest_cost(dense, cost, rules)
    with pytest.raises(RecpruneError, match=r"stop at ") as caught:
        remove(line, losses_of(line), cost, -1.0, rules)
    stop = str(caught.value).split(" stop at ")[1].split(";")[0]
    assert float(stop.replace(",", "")) >= least * (1 - 1e-5)  # six digits are told


@pytest.mark.parametrize("family", FAMILIES)
def test_the_whole_network_is_within_a_budget_of_1(family: str) -> None:
    dense = shape_of(3, 1, family=family)
    budget = budget_for(dense, replace(PRUNE, budget=1.0, min_neurons=100, min_inputs=1.0))
    assert budget.of(dense) == budget.dense == budget.limit
