import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError
from recprune.model.line import Line
from recprune.pruning.cost import Flops
from recprune.pruning.ranking import FLATTEST, SMALLEST_SHARE, ablate, check_importance
from recprune.pruning.removal import remove
from recprune.training.scoring import mean_log_loss, score
from tests.model.slow import slow_logits
from tests.networks import FAMILIES, PRUNE, events_for, line_of, shape_of


def linear(weights: list[float], importance: list[float]) -> tuple[Line, FeatureSet]:
    """Return a linear line on one feature whose row is all ones, and an event with a click."""
    line = line_of(shape_of(1, 0, embedding=len(weights), top=()))
    line.weights["embedding"] = torch.ones(3, len(weights))
    line.weights["top.0.weight"], line.weights["top.0.bias"] = torch.tensor([weights]), torch.zeros(1)
    line.importance = {"inputs": torch.tensor(importance)}
    events = FeatureSet(
        np.zeros((1, 1), np.int32),
        np.zeros((1, 0), np.float32),
        np.ones(1, np.float32),
        np.zeros(1, np.uint64),
        np.ones(1, np.float32),
    )
    return line, events


def test_an_ablation_by_hand() -> None:
    # 20 inputs, all weights sum to 0: of 2 and 4 that go the logit becomes -2 and -4, of more it would rise again
    line, events = linear([1.0] * 4 + [-0.25] * 16, [1.0, 2.0, 3.0, 4.0] + [50.0] * 16)
    d2, d4 = (math.log1p(math.exp(k)) - math.log(2) for k in (2, 4))
    found = ablate(line, events)["inputs"]
    assert found.increase == pytest.approx({0.1: d2, 0.2: d4, 0.35: d4, 0.5: d4, 0.65: d4, 0.8: d4}, rel=1e-5)
    overall = d4 / (10 + 12 * 50)
    steep = [1 * d2 / 3, 2 * d2 / 3, 3 * (d4 - d2) / 7, 4 * (d4 - d2) / 7]
    expected = [*steep, *[50 * FLATTEST * overall] * 12, *[50 * overall] * 4]
    assert found.losses.tolist() == pytest.approx(expected, rel=1e-5)
    assert found.losses.dtype == torch.float64


def test_where_nothing_hurts_every_kind_weighs_the_same() -> None:
    line, events = linear([-1.0] * 20, [2.0] * 20)  # removing any helps
    found = ablate(line, events)["inputs"]
    assert set(found.increase.values()) == {0.0}
    assert found.losses.tolist() == pytest.approx([FLATTEST] * 16 + [1.0] * 4)


def slow_ablation(line: Line, events: FeatureSet) -> dict[str, tuple[dict[float, float], list[float]]]:
    """Return increases and losses: activations zeroed row by row in float64, slopes group by group."""
    whole = mean_log_loss(events.label, np.array(slow_logits(line, events)))
    points: dict[str, list[tuple[float, int, float, float]]] = {}
    for kind, importance in line.importance.items():
        order = np.argsort(importance.numpy(), kind="stable")
        points[kind] = [(0.0, 0, 0.0, 0.0)]
        for share in (0.1, 0.2, 0.35, 0.5, 0.65, 0.8):
            gone = order[: int(share * len(order))]
            if len(gone) > points[kind][-1][1]:
                loss = mean_log_loss(events.label, np.array(slow_logits(line, events, {kind: gone.tolist()})))
                removed = float(importance.double().numpy()[gone].sum())
                points[kind].append((share, len(gone), removed, max(loss - whole, points[kind][-1][3])))
    mean = {kind: float(values.double().mean()) for kind, values in line.importance.items()}
    slope = {kind: p[-1][3] / p[-1][2] if len(p) > 1 else 0.0 for kind, p in points.items()}
    hurting = [slope[kind] * mean[kind] for kind in slope if slope[kind] > 0]
    least = SMALLEST_SHARE * float(np.median(hurting)) if hurting else 1.0
    found = {}
    for kind, curve in points.items():
        overall, losses = max(slope[kind], least / mean[kind]), []
        rank = np.argsort(np.argsort(line.importance[kind].numpy(), kind="stable"))
        for place, value in zip(rank, line.importance[kind].double().tolist(), strict=True):
            between = [(a, b) for a, b in pairwise(curve) if a[1] <= place < b[1]]
            (a, b), flattest = (between[0], FLATTEST) if between else (curve[-2:] if len(curve) > 1 else curve * 2, 1.0)
            local = (b[3] - a[3]) / (b[2] - a[2]) if b[2] > a[2] else 0.0
            losses.append(value * max(local, flattest * overall))
        found[kind] = ({share: increase for share, _, _, increase in curve[1:]}, losses)
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [2, 5])
def test_losses_are_those_of_zeroed_activations(family: str, seed: int) -> None:
    shape = shape_of(3, 2, family=family, embedding=4, bottom=(12,), top=(20, 10), heads=2)
    line = line_of(shape, seed)
    events = events_for(line, 40)
    events.label[:] = score(line, events) > 0  # what the line knows, so that removing hurts
    found, slow = ablate(line, events), slow_ablation(line, events)
    assert found.keys() == slow.keys() == shape.widths().keys()
    for kind, (increase, losses) in slow.items():
        assert found[kind].increase == pytest.approx(increase, rel=1e-3, abs=1e-5)
        assert found[kind].losses.tolist() == pytest.approx(losses, rel=2e-2, abs=1e-5)


def test_ablation_without_events_still_ranks() -> None:
    line = line_of(shape_of())
    for kind, found in ablate(line, events_for(line, 0)).items():
        assert bool((found.losses > 0).all())
        assert bool(torch.isfinite(found.losses).all())
        assert torch.equal(torch.argsort(found.losses), torch.argsort(line.importance[kind].double()))


def test_a_kind_without_importance_is_the_cheapest_and_harmless() -> None:
    line = line_of(shape_of())
    line.importance["top.1"] = torch.zeros(4)
    losses = {kind: found.losses for kind, found in ablate(line, events_for(line, 30)).items()}
    assert losses["top.1"].tolist() == [0, 0, 0, 0]
    found = remove(line, losses, Flops(), line.shape.flops() - 2, replace(PRUNE, min_neurons=1, min_inputs=0.0))
    assert len(found.kept["top.1"]) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_every_group_of_every_family_has_a_loss(family: str) -> None:
    line = line_of(shape_of(2, 1, family=family))
    found = ablate(line, events_for(line, 30))
    assert {kind: len(each.losses) for kind, each in found.items()} == line.shape.widths()


def test_a_kind_of_one_group_is_not_ablated() -> None:
    line = line_of(shape_of(1, 0, family="autoint", top=(4,)))
    found = ablate(line, events_for(line, 30))
    assert found["vectors"].increase == {}
    assert all(bool((each.losses > 0).all()) for each in found.values())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_importance_that_is_not_finite_is_named(value: float) -> None:
    line = line_of(shape_of())
    line.importance["inputs"][2] = line.importance["top.1"][0] = value
    told = (
        "the importance of inputs, top.1 is not finite: no group of these can be ranked; "
        "an activation or a gradient of that layer overflowed in the last pass: lower the learning rate."
    )
    with pytest.raises(NotFiniteError, match=f"^{re.escape(told)}$"):
        ablate(line, events_for(line, 30))
    check_importance(line_of(shape_of()))
