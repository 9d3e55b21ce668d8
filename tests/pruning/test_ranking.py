import math
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data.features import FeatureSet
from recprune.errors import RecpruneError
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.ranking import SMALLEST_SHARE, ablate, remove, replace_inputs
from recprune.pruning.shrink import keep_groups
from recprune.settings import PruneSettings
from recprune.training.scoring import mean_log_loss, score
from tests.networks import PRUNE, events_for, line_of, shape_of

OPEN = replace(PRUNE, min_neurons=1, min_inputs=0.0)


def of(shape: Shape, kept: Mapping[str, list[int]]) -> Shape:
    """Return the shape with these positions of each kind."""
    small = replace(shape, inputs=tuple(shape.inputs[i] for i in kept["inputs"]))
    for kind, groups in kept.items():
        small = small if kind == "inputs" else small.resized(kind, len(groups))
    return small


def slow_removal(
    line: Line, slopes: Mapping[str, float], target: int, settings: PruneSettings
) -> dict[str, list[int]] | None:
    """Walk the path with whole networks: every price from two FLOP counts, every candidate tried."""
    shape = line.shape
    kept = {kind: list(range(width)) for kind, width in sorted(shape.widths().items())}
    floors = {kind: min(settings.min_neurons, width) for kind, width in shape.widths().items()}
    floors["inputs"] = max(1, round(settings.min_inputs * shape.all_inputs))

    def without(kind: str, group: int) -> dict[str, list[int]]:
        return {**kept, kind: [g for g in kept[kind] if g != group]}

    path = []
    while of(shape, kept).flops() > target:
        best = None
        for kind, groups in kept.items():
            if len(groups) <= floors[kind]:
                continue
            for group in groups:
                saved = of(shape, kept).flops() - of(shape, without(kind, group)).flops()
                price = float(line.importance[kind][group].double() * slopes[kind]) / saved
                if best is None or price < best[0]:
                    best = price, kind, group
        if best is None:
            return None
        kept = without(*best[1:])
        path.append(best[1:])
    for kind, group in reversed(path):
        again = {**kept, kind: sorted([*kept[kind], group])}
        if of(shape, again).flops() <= target:
            kept = again
    return kept


@st.composite
def cases(draw: st.DrawFn) -> tuple[Line, dict[str, float], int]:
    shape = shape_of(
        draw(st.integers(0, 3)), draw(st.integers(1, 2)), embedding=draw(st.integers(1, 3)),
        bottom=draw(st.lists(st.integers(1, 4), max_size=2)), top=draw(st.lists(st.integers(1, 5), max_size=2)),
    )  # fmt: skip
    line = line_of(shape, draw(st.integers(0, 99)))
    if draw(st.booleans()):  # ties
        line.importance = {kind: (v * 3).round() for kind, v in line.importance.items()}
    slopes = {kind: draw(st.sampled_from([0.1, 1.0, 5.0])) for kind in line.importance}
    return line, slopes, int(draw(st.floats(0.0, 1.0)) * shape.flops())


@settings(max_examples=100)
@given(cases(), st.integers(1, 3), st.sampled_from([0.0, 0.25, 0.5]))
def test_the_path_is_the_slow_one(case: tuple[Line, dict[str, float], int], neurons: int, inputs: float) -> None:
    line, slopes, target = case
    floors = replace(PRUNE, min_neurons=neurons, min_inputs=inputs)
    slow = slow_removal(line, slopes, target, floors)
    if slow is None:
        with pytest.raises(RecpruneError, match=rf"^prune\.budget asks for {target} FLOPs, but the floors "):
            remove(line, slopes, target, floors)
    else:
        found = remove(line, slopes, target, floors).kept
        assert {kind: index.tolist() for kind, index in found.items()} == slow


@settings(max_examples=100)
@given(cases())
def test_delivered_is_within_asked_and_nothing_more_fits(case: tuple[Line, dict[str, float], int]) -> None:
    line, slopes, target = case
    smallest = of(line.shape, {k: [0] for k in line.shape.widths()}).flops()
    target = max(target, smallest + 2 * line.shape.embedding)  # whatever input is left
    found = remove(line, slopes, target, OPEN)
    small = keep_groups(line, found.kept)
    assert small.shape.flops() == found.flops <= target
    for kind, width in line.shape.widths().items():
        for group in set(range(width)) - set(found.kept[kind].tolist()):
            more = {**found.kept, kind: torch.sort(torch.cat([found.kept[kind], torch.tensor([group])])).values}
            assert keep_groups(line, more).shape.flops() > target


def test_three_neurons_by_hand() -> None:
    # 2 inputs, 3 neurons, 1 logit: 2·(2·3 + 3) = 18 FLOPs; a neuron saves 2·(2 + 1) = 6, an input 2·3 = 6
    line = line_of(shape_of(1, 0, embedding=2, top=(3,)))
    line.importance = {"inputs": torch.tensor([9.0, 8.0]), "top.0": torch.tensor([3.0, 1.0, 2.0])}
    found = remove(line, {"inputs": 1.0, "top.0": 1.0}, 12, OPEN)
    assert {kind: index.tolist() for kind, index in found.kept.items()} == {"inputs": [0, 1], "top.0": [0, 2]}
    assert (found.flops, found.floors) == (12, [])
    dear_neurons = remove(line, {"inputs": 1.0, "top.0": 100.0}, 12, OPEN)
    assert dear_neurons.kept["inputs"].tolist() == [0]
    assert dear_neurons.floors == ["inputs"]


def test_a_cheap_group_that_was_not_needed_comes_back() -> None:
    # 6 columns and a pair, 4 neurons: 2·(7·4 + 4) + 2·3 = 70 FLOPs; a column saves 8, the pair 14
    line = line_of(shape_of(2, 0, embedding=3, top=(4,)))
    line.importance = {"inputs": torch.tensor([1.0, 50, 50, 50, 50, 50, 2.0]), "top.0": torch.full((4,), 1e6)}
    found = remove(line, {"inputs": 1.0, "top.0": 1.0}, 60, OPEN)  # 1/8 < 2/14: column → 62, pair → 48, column → 56
    assert (found.kept["inputs"].tolist(), found.flops) == ([0, 1, 2, 3, 4, 5], 56)


def test_a_pair_goes_before_a_column_that_matters_less_but_saves_less() -> None:
    line = line_of(shape_of(2, 0, embedding=3, top=(4,)))
    line.importance = {"inputs": torch.tensor([1.0, 50, 50, 50, 50, 50, 1.5]), "top.0": torch.full((4,), 1e6)}
    found = remove(line, {"inputs": 1.0, "top.0": 1.0}, 56, OPEN)  # 1.5/14 < 1/8
    assert (found.kept["inputs"].tolist(), found.flops) == ([0, 1, 2, 3, 4, 5], 56)


def test_ties_go_by_kind_and_position_whatever_the_order_of_the_state() -> None:
    line = line_of(shape_of(2, 1, top=(4, 4)))
    line.importance = {kind: torch.ones_like(v) for kind, v in line.importance.items()}
    slopes, target = dict.fromkeys(line.importance, 1.0), line.shape.flops() // 3
    found = remove(line, slopes, target, OPEN)
    turned = line.copy()
    turned.importance = dict(reversed(line.importance.items()))
    again = remove(turned, slopes, target, OPEN)
    assert {k: v.tolist() for k, v in found.kept.items()} == {k: v.tolist() for k, v in again.kept.items()}
    for kind, width in line.shape.widths().items():  # of equal ones the first positions went
        assert found.kept[kind].tolist()[-1] == width - 1


def test_within_the_target_nothing_goes() -> None:
    line = line_of(shape_of())
    found = remove(line, dict.fromkeys(line.importance, 1.0), line.shape.flops(), OPEN)
    assert {k: v.tolist() for k, v in found.kept.items()} == {k: list(range(n)) for k, n in line.shape.widths().items()}
    assert found.flops == line.shape.flops()


def test_floors_hold_and_are_named() -> None:
    line = line_of(shape_of(2, 0, embedding=4, top=(8, 8)))  # 9 inputs
    floors = replace(PRUNE, min_neurons=3, min_inputs=0.5)
    smallest = 2 * (4 * 3 + 3 * 3 + 3)
    line.importance["inputs"][8] = -1  # the pair goes first
    found = remove(line, dict.fromkeys(line.importance, 1.0), smallest, floors)
    assert {kind: len(index) for kind, index in found.kept.items()} == {"inputs": 4, "top.0": 3, "top.1": 3}
    assert (found.flops, found.floors) == (smallest, ["inputs", "top.0", "top.1"])


def test_a_budget_below_the_floors_says_what_is_reachable() -> None:
    line = line_of(shape_of(2, 0, embedding=4, top=(8, 8)))
    line.importance["inputs"][8] = -1
    told = (
        "prune.budget asks for 40 FLOPs, but the floors (prune.min_neurons 3, prune.min_inputs 0.5) stop at 48; "
        "raise the budget or lower the floors."
    )
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        remove(line, dict.fromkeys(line.importance, 1.0), 40, replace(PRUNE, min_neurons=3, min_inputs=0.5))


def linear(weights: list[float], importance: list[float]) -> tuple[Line, FeatureSet]:
    """Return a linear line on one feature whose row is all ones, and an event with a click."""
    line = line_of(shape_of(1, 0, embedding=len(weights), top=()))
    line.weights["embedding"] = torch.ones(3, len(weights))
    line.weights["top.0.weight"], line.weights["top.0.bias"] = torch.tensor([weights]), torch.zeros(1)
    line.importance = {"inputs": torch.tensor(importance)}
    events = FeatureSet(
        np.zeros((1, 1), np.int32), np.zeros((1, 0), np.float32), np.ones(1, np.float32), np.zeros(1, np.uint64)
    )
    return line, events


def test_the_slope_of_an_ablation_by_hand() -> None:
    # 20 inputs: the cheapest 1, 2 and 4 of them go, of importance 1, 2, 3, 4 and weight 1 each; all weights sum to 0
    line, events = linear([1.0] * 4 + [-0.25] * 16, [1.0, 2.0, 3.0, 4.0] + [50.0] * 16)
    d1, d2, d4 = (math.log1p(math.exp(k)) - math.log(2) for k in (1, 2, 4))
    slope = (d1 * 1 + d2 * 3 + d4 * 10) / (1 + 9 + 100)
    assert ablate(line, events) == {"inputs": pytest.approx(slope, rel=1e-5)}


def test_where_nothing_hurts_every_kind_weighs_the_same() -> None:
    line, events = linear([-1.0] * 20, [2.0] * 20)  # removing any helps
    assert ablate(line, events) == {"inputs": pytest.approx(1 / 2)}


def test_slopes_are_those_of_masking() -> None:
    line = line_of(shape_of(3, 2, embedding=4, bottom=(12,), top=(20, 10)), seed=2)
    events = events_for(line, 200)
    events.label[:] = score(line, events) > 0  # what the line knows, so that removing hurts
    whole = mean_log_loss(events.label, score(line, events))
    found, raw = ablate(line, events), {}
    for kind, importance in line.importance.items():
        order = np.argsort(importance.numpy(), kind="stable")
        pairs = []
        for share in (0.05, 0.1, 0.2):
            gone = order[: max(1, int(share * len(order)))]
            masked = line.copy()
            following = "top.0" if kind == "inputs" else f"{kind[:-1]}{int(kind[-1]) + 1}"
            masked.weights[f"{following}.weight"][:, torch.from_numpy(gone.copy())] = 0
            increase = mean_log_loss(events.label, score(masked, events)) - whole
            pairs.append((float(importance[torch.from_numpy(gone.copy())].sum()), increase))
        raw[kind] = sum(s * d for s, d in pairs) / sum(s * s for s, _ in pairs) * float(importance.mean())
    floor = SMALLEST_SHARE * float(np.median([loss for loss in raw.values() if loss > 0]))
    for kind, loss in raw.items():
        mean = float(line.importance[kind].mean())
        assert found[kind] == pytest.approx(max(loss, floor) / mean, rel=1e-3)


def test_ablation_without_events_still_ranks() -> None:
    line = line_of(shape_of())
    found = ablate(line, events_for(line, 0))
    assert all(math.isfinite(slope) and slope > 0 for slope in found.values())


def test_a_kind_without_importance_is_the_cheapest_and_harmless() -> None:
    line = line_of(shape_of())
    line.importance["top.1"] = torch.zeros(4)
    slopes = ablate(line, events_for(line, 30))
    found = remove(line, slopes, line.shape.flops() - 2, OPEN)
    assert len(found.kept["top.1"]) == 3


def swapped(
    guide: list[float], inputs: list[int], limit: int = 10**9, **changes: object
) -> tuple[list[int], list[int]]:
    line = line_of(shape_of(inputs=inputs))
    rules = replace(PRUNE, swap=8, swap_ratio=1.5)
    dropped, added = replace_inputs(line, dict(enumerate(guide)), limit, replace(rules, **changes))  # type: ignore[arg-type]
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
