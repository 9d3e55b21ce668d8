import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from recprune.errors import NotFiniteError, RecpruneError
from recprune.pruning import carving
from recprune.pruning.budget import COSTS, Budget, budget_for
from recprune.pruning.carving import carve, carve_to_ramp, ramp
from recprune.training.scoring import score
from tests.networks import FAMILIES, PRUNE, events_for, line_of, same, shape_of

RULES = replace(PRUNE, min_neurons=1, min_inputs=0.0, budget=0.3, carve_days=4)
DENSE = shape_of(3, 1, embedding=4, bottom=(8,), top=(16, 8))
LEARNED = events_for(line_of(DENSE), 200)
BUDGET = budget_for(DENSE, RULES)


@pytest.mark.parametrize(("carve_days", "kept"), [
    (1, [1.0, 0.2, 0.2]),
    (4, [1.0, 1 - 0.8 * (1 - (2 / 3) ** 3), 1 - 0.8 * (1 - (1 / 3) ** 3), 0.2, 0.2]),
])  # fmt: skip
def test_the_ramp_by_hand(carve_days: int, kept: list[float]) -> None:
    rules = replace(PRUNE, carve_days=carve_days)
    assert [ramp(n, 0.2, rules) for n in range(len(kept))] == pytest.approx(kept)


@given(st.integers(1, 40), st.floats(0.01, 1.0))
def test_the_ramp_falls_from_all_to_the_budget_by_the_last_day(carve_days: int, share: float) -> None:
    rules = replace(PRUNE, carve_days=carve_days)
    kept = [ramp(n, share, rules) for n in range(carve_days + 3)]
    assert kept[0] == 1
    assert kept == sorted(kept, reverse=True)
    assert kept[carve_days] == pytest.approx(share)
    assert kept[max(1, round(0.75 * carve_days))] == kept[-1]


budgets = st.one_of(st.floats(0.01, 1.0), st.integers(1, 100).map(lambda percent: percent / 100))


@example(3, 0.29, 100)  # 0.29 · 100 is 28.999999999999996
@given(st.integers(3, 20), budgets, st.one_of(st.integers(1, 10**9), st.integers(1, 10**4).map(lambda n: 100 * n)))
def test_the_ramps_end_never_asks_for_more_than_the_budget(carved_days: int, budget: float, dense: int) -> None:
    """Costs are whole numbers: one that is within the ramp's end is within the budget, to the last bit."""
    asked = Budget(cost=COSTS["flops"], dense=float(dense), limit=budget * dense)
    end = asked.at(ramp(carved_days, asked.share, replace(PRUNE, carve_days=4)))
    assert math.floor(end) <= asked.limit
    assert end == pytest.approx(asked.limit)


def test_what_carving_says_is_what_it_did() -> None:
    small, note = carve(line_of(DENSE), LEARNED, 1 / 3, BUDGET, RULES)
    assert note["asked"] == pytest.approx(DENSE.flops() / 3)
    assert note["asked"] >= note["delivered"] == small.shape.flops()
    assert note["unit"] == "FLOPs"
    assert note["loss_increase"].keys() == DENSE.widths().keys()
    assert list(note["loss_increase"]["top.0"]) == ["0.1", "0.2", "0.35", "0.5", "0.65", "0.8"]
    assert note["floors_reached"] == []


def test_a_carving_below_the_floors_fails_with_a_sentence() -> None:
    told = r"^prune\.budget asks for 10 FLOPs, but the floors \(prune\.min_neurons 4, prune\.min_inputs 0\.5\) stop at "
    floors = replace(RULES, min_neurons=4, min_inputs=0.5)
    with pytest.raises(RecpruneError, match=told + r"[\d,]+; raise the budget or lower the floors\.$"):
        carve(line_of(DENSE), LEARNED, 10 / DENSE.flops(), BUDGET, floors)


def test_a_carving_is_the_same_every_time() -> None:
    first, second = (carve(line_of(DENSE), LEARNED, 1 / 3, BUDGET, RULES)[0] for _ in range(2))
    assert same(first, second)


def test_a_carving_measures_on_what_was_learned_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carving, "ABLATION_ROWS", 50)
    line = line_of(DENSE)
    whole, last = (carve(line, rows, 1 / 3, BUDGET, RULES) for rows in (LEARNED, LEARNED.rows(slice(150, 200))))
    assert same(whole[0], last[0])
    assert whole[1] == last[1]


def test_the_given_line_stays_as_it_is() -> None:
    line = line_of(DENSE)
    carve(line, LEARNED, 1 / 3, BUDGET, RULES)
    assert same(line, line_of(DENSE))


@pytest.mark.parametrize("cost", ["flops", "parameters"])
@pytest.mark.parametrize("family", FAMILIES)
def test_steps_of_the_ramp_are_each_within_what_was_asked(family: str, cost: str) -> None:
    dense = shape_of(3, 1, family=family, embedding=4, bottom=(8,), top=(16, 8), heads=2)
    rules = replace(RULES, cost=cost)  # type: ignore[arg-type]
    budget, line = budget_for(dense, rules), line_of(dense)
    for day in range(1, 5):
        line, note = carve_to_ramp(line, LEARNED, day, budget, rules)
        assert budget.of(line.shape) <= budget.at(ramp(day, budget.share, rules))
        assert day < 4 or not note  # the ramp ends after three quarters
        assert np.isfinite(score(line, LEARNED)).all()
    assert budget.of(line.shape) <= budget.limit


def test_a_line_within_the_ramp_stays_as_it_is() -> None:
    small, _ = carve(line_of(DENSE), LEARNED, 0.3, BUDGET, RULES)
    found, note = carve_to_ramp(small, LEARNED, 1, BUDGET, RULES)
    assert (found is small, note) == (True, {})


def test_an_importance_that_is_not_finite_stops_the_carving_and_names_the_layer() -> None:
    line = line_of(DENSE)
    line.importance["top.1"][3] = torch.nan
    told = (
        "the importance of top.1 is not finite: no group of these can be ranked; "
        "an activation or a gradient of that layer overflowed in the last pass: lower the learning rate."
    )
    with pytest.raises(NotFiniteError, match=f"^{re.escape(told)}$"):
        carve(line, LEARNED, 0.5, BUDGET, RULES)
