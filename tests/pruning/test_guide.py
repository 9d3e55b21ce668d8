from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from recprune.data.features import FeatureSet
from recprune.model import network
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning import guide as guides
from recprune.pruning.budget import Budget
from recprune.pruning.cost import Flops
from recprune.pruning.guide import choose_swap, dense_guide, own_guide
from recprune.pruning.shrink import swap_inputs
from tests.networks import FAMILIES, PRUNE, events_for, line_of, reading, same, shape_of, shapes


def limited(limit: float) -> Budget:
    return Budget(cost=Flops(), dense=2 * limit, limit=limit)


def swapped(
    guide: list[float], inputs: list[int], limit: float = 1e9, **changes: object
) -> tuple[list[int], list[int]]:
    shape = shape_of(inputs=inputs)
    rules = replace(PRUNE, swap=8, swap_ratio=1.5)
    every = dict(enumerate(guide))
    dropped, added = choose_swap(line_of(shape), every, every, limited(limit), replace(rules, **changes))  # type: ignore[arg-type]
    return list(dropped), list(added)


GUIDE = [4.0, 1.0, 9.0, 2.0, 8.0, 0.5, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_the_best_unused_replace_the_worst_used() -> None:
    assert swapped(GUIDE, [0, 1, 3, 5]) == ([5, 1, 3], [2, 4, 6])  # 4 against 0: not 1.5 × as important


def test_no_more_swaps_than_allowed() -> None:
    assert swapped(GUIDE, [0, 1, 3, 5], swap=1) == ([5], [2])
    assert swapped(GUIDE, [0, 1, 3, 5], swap=0) == ([], [])


def test_an_input_enters_from_the_ratio_on() -> None:
    assert swapped([2.0, 3.0, *[0.0] * 10], [0]) == ([0], [1])
    assert swapped([2.0, 2.99, *[0.0] * 10], [0]) == ([], [])


def test_nothing_replaces_nothing() -> None:
    assert swapped([0.0] * 12, [0, 1, 2]) == ([], [])


def test_ties_go_by_number() -> None:
    assert swapped([1.0, 1.0, 5.0, 5.0, *[0.0] * 8], [0, 1], swap=1) == ([0], [2])


def test_a_swap_that_would_cost_more_than_the_limit_is_left_out() -> None:
    guide = [1.0, 1.0, *[0.0] * 7, 9.0, 8.0, 0.0]  # 9 and 10 are pairs, 2·3 FLOPs more than a column
    flops = line_of(shape_of(inputs=[0, 1])).shape.flops()
    assert swapped(guide, [0, 1], flops) == ([], [])
    assert swapped(guide, [0, 1], flops + 6) == ([0], [9])
    assert swapped(guide, [0, 1], flops + 12) == ([0, 1], [9, 10])


@given(
    st.lists(st.floats(0, 10), min_size=12, max_size=12), st.sets(st.integers(0, 11), min_size=1), st.integers(0, 12)
)
def test_swaps_are_pairs_of_used_and_unused(guide: list[float], used: set[int], most: int) -> None:
    dropped, added = swapped(guide, sorted(used), swap=most)
    assert len(dropped) == len(added) <= most
    assert set(dropped) <= used
    assert not set(added) & used
    assert len({*dropped, *added}) == len(dropped) + len(added)
    assert all(guide[new] >= 1.5 * guide[old] for old, new in zip(dropped, added, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=40)
@given(st.data(), st.lists(st.floats(0, 10), min_size=12, max_size=12), st.integers(0, 12), st.floats(0.0, 1.5))
def test_swaps_of_any_family_stay_within_reach_and_budget(
    family: str, data: st.DataObject, guide: list[float], most: int, share: float
) -> None:
    dense = shape_of(family=family)
    attended = sorted(data.draw(st.sets(st.sampled_from(dense.attended), min_size=1))) if dense.attended else None
    may = [i for i in dense.inputs if attended is None or set(dense.vectors_of(i)) <= set(attended)]
    line = line_of(reading(dense, sorted(data.draw(st.sets(st.sampled_from(may), min_size=1))), attended))
    every, budget = dict(zip(dense.inputs, guide, strict=False)), limited(share * dense.flops())
    dropped, added = choose_swap(line, every, every, budget, replace(PRUNE, swap=most))
    after = swap_inputs(line, dropped, added, line_of(dense))  # refuses what nobody can give
    assert after.shape.flops() <= max(budget.limit, line.shape.flops())
    assert len(after.shape.inputs) == len(line.shape.inputs)
    assert set(after.shape.reading.vectors) <= set(attended or dense.reading.vectors)


def test_an_unattended_vector_never_comes_back() -> None:
    line = line_of(shape_of(family="autoint", inputs=[0, 1], attended=[0, 2]))
    guide = {0: 1.0, 1: 1.0, 2: 0.0, 3: 99.0, 4: 98.0, 5: 97.0, 6: 9.0, 7: 0.0, 8: 0.0}
    assert choose_swap(line, guide, guide, limited(1e9), PRUNE) == ([0], [6])


@pytest.mark.parametrize("family", ["dlrm", "dcn", "deepfm"])
def test_the_numbers_never_come_back_but_a_feature_does(family: str) -> None:
    line = line_of(shape_of(family=family, inputs=[3, 4]))  # c0 alone is read
    guide = dict.fromkeys(line_of(shape_of(family=family)).shape.inputs, 0.0) | {0: 99.0, 6: 9.0, 3: 1.0, 4: 2.0}
    assert choose_swap(line, guide, guide, limited(1e9), PRUNE) == ([3], [6])


def test_a_swap_never_drops_the_last_input_of_the_numbers() -> None:
    guide = {0: 1.0, 1: 9.0, 3: 2.0, 4: 0.0, 6: 50.0, 7: 40.0}  # their bottom tower could not come back
    assert choose_swap(line_of(shape_of(inputs=[0, 3])), guide, guide, limited(1e9), PRUNE) == ([3], [7])
    assert choose_swap(line_of(shape_of(inputs=[0, 1, 3])), guide, guide, limited(1e9), PRUNE) == ([0, 3], [6, 7])


def test_a_line_beyond_the_budget_may_not_go_further_beyond() -> None:
    line, guide = line_of(shape_of(inputs=[3, 4])), {3: 1.0, 4: 9.0, 11: 5.0, 6: 3.0}
    assert choose_swap(line, guide, guide, limited(1.0), PRUNE) == ([], [])  # a pair costs more
    assert choose_swap(line, guide, {6: 3.0}, limited(1.0), PRUNE) == ([3], [6])


def test_used_and_unused_may_be_judged_by_two_measures() -> None:
    line = line_of(shape_of(inputs=[0, 1, 2]))
    used, unused = {0: 2.0, 1: 1.0, 2: 5.0}, {0: 99.0, 4: 3.0, 5: 1.4}
    assert choose_swap(line, used, unused, limited(1e9), PRUNE) == ([1], [4])


def test_the_dense_guide_is_the_importance_of_the_dense_line() -> None:
    line = line_of(shape_of(2, 0))
    assert list(dense_guide(line)) == list(line.shape.inputs)
    assert list(dense_guide(line).values()) == line.importance["inputs"].tolist()


def widened(line: Line, wide: Shape) -> dict[str, torch.Tensor]:
    """Return the line's weights in float64 for a shape that reads more inputs; those of the new ones are 0."""
    place = {number: i for i, number in enumerate(wide.inputs)}
    inputs = [place[number] for number in line.shape.inputs]
    columns = [i for i in inputs if wide.inputs[i] < wide.columns]
    weights = {name: tensor.double() for name, tensor in line.weights.items()}
    for layer, n, m in wide.layers():
        first, crossed = layer in ("top.0", "wide"), layer.startswith("cross")
        read = columns if (wide.family, layer) == ("deepfm", "top.0") else inputs
        old = weights[f"{layer}.weight"]
        across = read if first or crossed else range(n)
        down = inputs if crossed else range(m)
        weights[f"{layer}.weight"], bias = torch.zeros(m, n).double(), torch.zeros(m).double()
        weights[f"{layer}.weight"][np.ix_(list(down), list(across))] = old
        bias[list(down)] = weights[f"{layer}.bias"]
        weights[f"{layer}.bias"] = bias
    return weights


def places_of(wide: Shape) -> list[tuple[str, int]]:
    """Return where the weights of inputs lie: tensor and axis."""
    found = [("wide.weight", 1)] if wide.family == "deepfm" else []
    for i in range(wide.cross):
        found += [(f"cross.{i}.weight", 0), (f"cross.{i}.weight", 1), (f"cross.{i}.bias", 0)]
    return [*found, ("top.0.weight", 1)]


def slow_own_guide(line: Line, events: FeatureSet, chunk: int) -> dict[int, float]:
    """Give the network every input within reach at weight 0; square the gradients, chunk by chunk."""
    shape = line.shape
    reach = [i for i in range(shape.all_inputs) if set(shape.vectors_of(i)) <= set(shape.reading.vectors)]
    wide = replace(shape, inputs=tuple(reach))
    found, starts = dict.fromkeys(reach, 0.0), range(0, len(events), chunk)
    for start in starts:
        part = events.rows(slice(start, start + chunk))
        leaves = {name: tensor.requires_grad_() for name, tensor in widened(line, wide).items()}
        embedded = leaves["embedding"][line.look_up(torch.tensor(part.ids))[0]]
        numbers = line.standardize(torch.tensor(part.numbers)).double()
        logit = network.logits(wide, leaves, embedded, numbers)
        functional.binary_cross_entropy_with_logits(logit, torch.tensor(part.label).double()).backward()  # type: ignore[no-untyped-call]
        for name, axis in places_of(wide):
            gradient = leaves[name].grad
            assert gradient is not None
            for i in range(gradient.shape[axis]):  # columns come first, so that a tensor may hold them alone
                found[reach[i]] += float(gradient.select(axis, i).square().sum()) / len(starts)
    return found


@settings(max_examples=60)
@given(shapes(), st.integers(0, 20), st.integers(1, 9))
def test_the_own_guide_is_the_slow_reference(shape: Shape, seed: int, rows: int) -> None:
    line = line_of(shape, seed)
    events = events_for(line, rows, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guides, "CHUNK", 4)
        found = own_guide(line, events)
    slow = slow_own_guide(line, events, 4)
    assert found.keys() == slow.keys()
    assert list(found.values()) == pytest.approx(list(slow.values()), rel=2e-3, abs=1e-6)


def test_the_own_guide_by_hand() -> None:
    """One feature of two columns, of which the first is read; p = 1/2, so that ∂loss/∂w = ∓ x / 2."""
    line = line_of(shape_of(1, 0, embedding=2, top=(), inputs=[0]))
    line.weights["embedding"] = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    line.weights["top.0.weight"], line.weights["top.0.bias"] = torch.zeros(1, 1), torch.zeros(1)
    ids, label = np.array([[1], [2]], np.int32), np.array([1.0, 1.0], np.float32)
    events = FeatureSet(ids, np.zeros((2, 0), np.float32), label, np.zeros(2, np.uint64), np.ones(2, np.float32))
    means = {0: (3 + 5) / 4, 1: (4 + 6) / 4}  # one chunk: squared after the mean over its rows
    assert own_guide(line, events) == pytest.approx({i: m**2 for i, m in means.items()})


def test_the_own_guide_changes_nothing_and_leaves_no_gradients() -> None:
    line, events = line_of(shape_of(inputs=[0, 4, 10])), events_for(line_of(shape_of()), 20)
    own_guide(line, events)
    assert same(line, line_of(line.shape))
    assert not any(tensor.requires_grad for tensor in line.weights.values())


def test_without_events_every_input_within_reach_asks_for_nothing() -> None:
    line = line_of(shape_of(inputs=[3, 4]))
    assert own_guide(line, events_for(line, 0)) == {3: 0.0, 4: 0.0, 5: 0.0}
