import re
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data.features import FeatureSet
from recprune.errors import SettingsError
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.budget import COSTS, Budget, budget_for
from recprune.pruning.carving import carve
from recprune.pruning.control import Control
from recprune.pruning.policy import Today
from recprune.pruning.static import READS, TOPS, Dense, Frozen, Random, ShapeOnly, SmallDense
from recprune.training.scoring import score
from tests.networks import FAMILIES, PRUNE, events_for, line_of, same, shape_of, sizes_of

RULES = replace(PRUNE, min_neurons=1, min_inputs=0.0, budget=0.3)
LEARNED = events_for(line_of(shape_of(3, 1)), 60)


def dense_of(family: str) -> Shape:
    return shape_of(3, 1, family=family, embedding=4, bottom=(8,), top=(16, 8), heads=2)


def today_of(dense: Shape, seed: int = 0, **changes: Any) -> Today:
    rules = replace(RULES, **changes)
    budget = budget_for(dense, rules)
    return Today(
        day="2024-01-10", number=0, learned=LEARNED, scores=pl.DataFrame(), budget=budget, settings=rules, seed=seed
    )


@cache
def _carved(family: str, seed: int, share: float) -> tuple[Line, Line]:
    dense = line_of(dense_of(family), seed)
    today = today_of(dense.shape)
    return dense, carve(dense, LEARNED, share, today.budget, today.settings)[0]


def carved_of(family: str = "dlrm", seed: int = 0, share: float = 0.3) -> dict[str, Line]:
    """Return a dense line and what a carving made of it."""
    return {name: line.copy() for name, line in zip(("dense", "served"), _carved(family, seed, share), strict=True)}


def test_dense_is_never_carved() -> None:
    assert (Dense().carves, Dense().needs_dense) == (False, True)


def test_frozen_learns_nothing() -> None:
    lines = carved_of()

    def refuse(name: str, line: Line, events: FeatureSet, part: int) -> None:
        raise AssertionError(name)

    today = today_of(lines["dense"].shape)
    settled = Frozen().settle(lines, today)
    Frozen().train(settled, Control(), LEARNED, refuse, today)
    assert settled.keys() == {"served"}
    assert same(settled["served"], carved_of()["served"])


@pytest.mark.parametrize("family", FAMILIES)
def test_shape_only_draws_everything_anew_but_the_scale_of_the_numbers(family: str) -> None:
    lines = carved_of(family)
    served, dense = lines["served"], lines["dense"].shape
    (name, fresh), = ShapeOnly().settle(lines, today_of(dense)).items()  # fmt: skip
    again = ShapeOnly().settle(lines, today_of(dense))["served"]
    other = ShapeOnly().settle(lines, today_of(dense, seed=1))["served"]
    assert (name, fresh.shape, fresh.sizes, fresh.step) == ("served", served.shape, served.sizes, 0)
    assert same(fresh, again)
    assert not same(fresh, other)
    assert all(float(moment.abs().sum()) == 0 for moment in fresh.moments.values())
    assert (fresh.importance, fresh.masks, fresh.extra) == ({}, {}, {})
    for name, tensor in served.weights.items():
        assert not name.endswith("weight") or not torch.equal(fresh.weights[name], tensor)
    for name, tensor in served.numbers.items():
        assert torch.equal(fresh.numbers[name], tensor)
        fresh.numbers[name].zero_()
    assert same(lines["served"], carved_of(family)["served"])


@settings(max_examples=60)
@given(st.sampled_from(FAMILIES), st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.3, 0.5]))
def test_random_keeps_as_many_of_each_kind_as_the_carving(family: str, seed: int, share: float) -> None:
    lines = carved_of(family, seed, share)
    served, today = lines["served"], today_of(lines["dense"].shape, seed, budget=share)
    found = Random().settle(lines, today)["served"]
    ours, theirs = found.shape.counts(), served.shape.counts()
    assert found.shape.vectors == served.shape.vectors
    for kind in ("columns", "pairs", *(k for k in theirs if k.startswith("top"))):
        assert ours[kind] == theirs[kind]
    if found.shape.attended:
        assert ours["vectors"] == theirs["vectors"]
    assert ours["numbers"] <= theirs["numbers"]
    if ours["numbers"]:
        assert found.shape.bottom == served.shape.bottom
    assert today.budget.of(found.shape) <= today.budget.of(served.shape)
    assert same(found, Random().settle(lines, today)["served"])


@pytest.mark.parametrize("family", FAMILIES)
def test_random_groups_are_groups_of_the_dense_line_and_differ_by_seed(family: str) -> None:
    lines = carved_of(family)
    found = [Random().settle(lines, today_of(lines["dense"].shape, seed))["served"] for seed in range(5)]
    assert len({(line.shape.inputs, *line.origin["top.0"].tolist()) for line in found}) > 1
    for line in found:
        last, (top,) = line.weights["top.2.weight"], line.origin["top.1"].unsqueeze(0)
        assert torch.equal(last, lines["dense"].weights["top.2.weight"][:, top])
    assert same(lines["dense"], line_of(dense_of(family)))


def test_random_draws_every_group_alike() -> None:
    lines = carved_of()
    has, seen = lines["served"].shape.counts(), torch.zeros(lines["dense"].shape.columns)
    for seed in range(300):
        inputs = Random().settle(lines, today_of(lines["dense"].shape, seed))["served"].shape.inputs
        seen[[i for i in inputs if i < len(seen)]] += 1
    expected = 300 * has["columns"] / len(seen)
    assert float((seen - expected).abs().max()) < 5 * expected**0.5


ALL = [SmallDense(top=top, reads=reads) for top, reads in product(TOPS, READS)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("policy", ALL, ids=[f"{p.top}-{p.reads}" for p in ALL])
def test_every_small_shape_is_the_widest_within_the_budget(policy: SmallDense, family: str) -> None:
    dense = shape_of(4, 1, family=family, embedding=4, bottom=(16,), top=(64, 32), heads=2, cross=1)
    for name in COSTS:
        cost = COSTS[name]
        whole = cost(dense, dense.counts())
        budget = Budget(cost=cost, dense=whole, limit=0.6 * whole)
        line = policy.begin(dense, sizes_of(dense), budget, seed=3)
        assert budget.of(line.shape) <= budget.limit
        shares = TOPS[policy.top]
        assert len(line.shape.top) == len(shares)
        widest = max(line.shape.top)
        assert line.shape.top == pytest.approx([widest * s / max(shares) for s in shares], abs=1)
        if widest < 64:  # not limited by the dense one's width
            scale = 1.1 if widest > 20 else 1 + 2 / widest
            wider = replace(
                line.shape, top=tuple(round(scale * n) for n in line.shape.top),
                bottom=tuple(round(scale * n) for n in line.shape.bottom),
            )  # fmt: skip
            assert budget.of(wider) > budget.limit
        assert same(line, policy.begin(dense, sizes_of(dense), budget, seed=3))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_small_networks_read(family: str) -> None:
    dense = shape_of(3, 1, family=family, embedding=4, bottom=(8,), top=(64, 32), heads=2)
    whole = float(dense.flops())
    budget = Budget(cost=COSTS["flops"], dense=whole, limit=whole)
    read = {reads: SmallDense(top="one", reads=reads).begin(dense, sizes_of(dense), budget, 1) for reads in READS}
    assert read["all"].shape.inputs == dense.inputs
    few = tuple(range(16, 22)) if family in ("dlrm", "deepfm") else (0, 4, 8, 12)
    assert read["pairs"].shape.inputs == few
    assert len(read["swap"].shape.inputs) == dense.all_inputs // 2
    other = SmallDense(top="one", reads="swap").begin(dense, sizes_of(dense), budget, 2)
    assert other.shape.inputs != read["swap"].shape.inputs
    for line in (*read.values(), other):
        score(line, events_for(line, 5))
        assert bool(line.shape.bottom) == (0 in line.shape.reading.vectors)


def test_a_small_network_within_no_budget_says_so() -> None:
    dense = shape_of(3, 1, embedding=4, bottom=(8,), top=(64, 32))
    budget = Budget(cost=COSTS["flops"], dense=float(dense.flops()), limit=10.0)
    told = (
        "small_dense: no network of shape two-steep that reads all is within 10 FLOPs; its inputs alone cost more: "
        "choose other reads, or raise the budget."
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        SmallDense(top="two-steep").begin(dense, sizes_of(dense), budget, 0)


@pytest.mark.parametrize(("top", "reads"), [("four", "all"), ("one", "none"), ("four", "none")])
def test_names_that_do_not_exist(top: str, reads: str) -> None:
    told = (
        f"small_dense: top is {top}, reads is {reads}; top is one of one, two, two-flat, two-steep, three, "
        "three-flat, three-steep, three-late, reads one of all, pairs, swap."
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        SmallDense(top=top, reads=reads)


def small_line(reads: str, family: str) -> tuple[SmallDense, Line, Today]:
    dense, policy = dense_of(family), SmallDense(top="two", reads=reads)
    today = today_of(dense, swap=3, budget=0.7)
    line = policy.begin(dense, sizes_of(dense), today.budget, 1)
    line.importance = {k: 1e-9 * torch.ones(n) for k, n in line.shape.widths().items()}
    line.importance["inputs"][:3] = 0  # these are the first to go
    return policy, line, today


@pytest.mark.parametrize("family", FAMILIES)
def test_swap_reads_other_inputs_by_its_own_gradient_without_a_dense_line(family: str) -> None:
    policy, line, today = small_line("swap", family)
    done = policy.adapt({"served": line}, Control(), today)
    before, after = set(line.shape.inputs), set(done.lines["served"].shape.inputs)
    assert len(before) == len(after)
    assert 1 <= len(after - before) <= 3
    assert before - after <= set(line.shape.inputs[:3])
    assert len(done.notes["swap"]["added"]) == len(after - before)
    assert today.settings.guide == "dense"
    assert today.budget.of(done.lines["served"].shape) <= today.budget.limit


@pytest.mark.parametrize("reads", ["all", "pairs"])
def test_the_others_keep_their_inputs(reads: str) -> None:
    policy, line, today = small_line(reads, "dlrm")
    done = policy.adapt({"served": line}, Control(), today)
    assert (done.lines["served"] is line, done.notes) == (True, {})
