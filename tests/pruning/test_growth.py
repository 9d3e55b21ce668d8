from dataclasses import replace

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data.features import FeatureSet
from recprune.errors import SettingsError
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.budget import budget_for
from recprune.pruning.control import Control
from recprune.pruning.growth import GrowthPrune, grow
from recprune.pruning.policy import Today
from recprune.pruning.shrink import grow_neurons, keep_groups
from recprune.training.incremental import learn
from tests.model.slow import double_logits
from tests.networks import FAMILIES, PRUNE, TRAIN, events_for, line_of, masked, same, shape_of, shapes
from tests.pruning.labelled import labelled

RULES = replace(PRUNE, min_neurons=1, min_inputs=0.0, budget=0.3)
LEARNED = events_for(line_of(shape_of(3, 1)), 50)


def layers_of(line: Line) -> list[str]:
    return [kind for kind in line.shape.widths() if kind.startswith(("top", "bottom"))]


@settings(max_examples=100)
@given(shapes().filter(lambda s: bool(s.top or s.bottom)), st.integers(1, 5), st.integers(0, 9))
def test_new_neurons_change_no_logit(shape: Shape, count: int, seed: int) -> None:
    line = masked(line_of(shape, seed))
    for layer in layers_of(line):
        wider = grow_neurons(line, layer, count, seed)
        assert wider.shape == line.shape.resized(layer, line.shape.widths()[layer] + count)
        events = events_for(line, 6)
        assert double_logits(wider, events) == pytest.approx(double_logits(line, events), rel=1e-9, abs=1e-9)


@settings(max_examples=100)
@given(shapes().filter(lambda s: bool(s.top or s.bottom)), st.integers(1, 5), st.data())
def test_without_its_new_neurons_it_is_the_line_it_was(shape: Shape, count: int, data: st.DataObject) -> None:
    line = labelled(line_of(shape))
    layer = data.draw(st.sampled_from(layers_of(line)))
    width = shape.widths()[layer]
    gone = data.draw(st.sets(st.integers(0, width - 1), max_size=width - 1))
    line = keep_groups(line, {layer: torch.tensor([i for i in range(width) if i not in gone])})
    wider = grow_neurons(line, layer, count, 3)
    old = torch.isin(wider.origin[layer], line.origin[layer])
    assert int((~old).sum()) == count
    assert wider.origin[layer].tolist() == sorted(set(wider.origin[layer].tolist()))
    assert same(keep_groups(wider, {layer: old.nonzero().squeeze(1)}), line)


def test_a_new_neuron_reads_at_random_and_says_nothing() -> None:
    line = line_of(shape_of(2, 0, top=(3, 2)), 1)
    line = keep_groups(line, {"top.0": torch.tensor([0, 2])})  # number 1 went
    wider = grow_neurons(line, "top.0", 2, 5)
    assert wider.origin["top.0"].tolist() == [0, 1, 2, 3]
    assert (wider.weights["top.0.weight"][[1, 3]] != 0).all()
    assert wider.weights["top.0.bias"][[1, 3]].tolist() == [0, 0]
    assert wider.weights["top.1.weight"][:, [1, 3]].abs().sum() == 0
    for name in ("top.0.weight", "top.0.bias"):
        assert wider.moments[f"{name}.first"][[1, 3]].abs().sum() == 0
        mean = float(line.moments[f"{name}.second"].mean())
        assert wider.moments[f"{name}.second"][[1, 3]].flatten().tolist() == pytest.approx(
            [mean] * wider.moments[f"{name}.second"][[1, 3]].numel()
        )
    assert wider.importance["top.0"][[1, 3]].tolist() == [0, 0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_grown_line_has_more_of_everything_and_computes_the_same(family: str) -> None:
    dense = shape_of(3, 1, family=family, embedding=4, bottom=(8,), top=(16, 8), heads=2)
    line = line_of(replace(dense, inputs=dense.inputs[::2], bottom=(4,), top=(6, 4)), 2)
    wide = grow(line, 1.5, 7)
    assert {layer: wide.shape.widths()[layer] for layer in layers_of(line)} == {"bottom.0": 6, "top.0": 9, "top.1": 6}
    assert set(line.shape.inputs) < set(wide.shape.inputs)
    has = len(line.shape.inputs)
    assert len(wide.shape.inputs) == min(has + round(0.5 * has), len(dense.inputs))
    events = events_for(line, 9)
    assert double_logits(wide, events) == pytest.approx(double_logits(line, events), rel=1e-9, abs=1e-9)
    assert same(wide, grow(line, 1.5, 7))
    assert not same(wide, grow(line, 1.5, 8))


def day(line: Line, number: int) -> tuple[Line, list[tuple[int, int]]]:
    """Give a served line a day; return it with rows and FLOPs of each part of the pass."""
    lines, seen = {"served": line}, list[tuple[int, int]]()
    budget = budget_for(shape_of(3, 1, embedding=4, bottom=(8,), top=(16, 8)), RULES)

    def one(name: str, taught: Line, events: FeatureSet, part: int) -> None:
        assert name == "served"
        seen.append((len(events), taught.shape.flops()))
        learn(taught, events, TRAIN, seed=part)

    today = Today(
        day="2024-01-10", number=number, learned=LEARNED, scores=pl.DataFrame(), budget=budget, settings=RULES, seed=0
    )
    GrowthPrune().train(lines, Control(), LEARNED, one, today)
    assert budget.of(lines["served"].shape) <= budget.limit
    return lines["served"], seen


def test_it_grows_every_so_many_days_and_serves_only_what_is_within_the_budget() -> None:
    line = line_of(shape_of(3, 1, embedding=4, bottom=(3,), top=(4, 3)), 2)
    flops = line.shape.flops()
    same_size, seen = day(line.copy(), 2)
    assert (same_size.shape, seen) == (line.shape, [(50, flops)])
    changed, seen = day(line.copy(), 3)
    assert sum(rows for rows, _ in seen) == 50
    assert seen[0][1] > 1.3 * flops
    assert set(changed.origin["top.0"].tolist()) != set(range(4)) or changed.shape != line.shape
    assert all(bool(torch.isfinite(t).all()) for t in changed.weights.values())


@pytest.mark.parametrize("growth", [1.0, 0.5, 17.0])
def test_a_factor_that_grows_nothing_or_too_much_is_refused(growth: float) -> None:
    with pytest.raises(SettingsError, match=f"growth is {growth:g}"):
        GrowthPrune(growth=growth)
