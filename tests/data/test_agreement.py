"""Ids and labels together, on two users whose clicks can be counted by hand."""

import math

import pytest

from recprune.data.agreement import agreement, usual_ids
from recprune.data.profile import TOP, Profile


def day(top: dict[str, float], rates: dict[str, float] | None, rows: int = 1000) -> Profile:
    user = {"top": top, "rates": rates} if rates is not None else {"top": top}
    base = sum(share * (rates or {}).get(ident, 0.5) for ident, share in top.items())
    return {"rows": rows, "base_rate": base, "numeric": {}, "categorical": {"user": user}}


HALVES = {"a": 0.5, "b": 0.5}
BEFORE = [day(HALVES, {"a": 0.2, "b": 0.6}), day(HALVES, {"a": 0.2, "b": 0.6})]


@pytest.mark.parametrize(
    ("rates", "slope"),
    [
        ({"a": 0.2, "b": 0.6}, 1),
        ({"a": 0.3, "b": 0.7}, 1),  # the base rate moves; what the ids say does not
        ({"a": 0.3, "b": 0.5}, 0.5),
        ({"a": 0.4, "b": 0.4}, 0),
        ({"a": 0.8, "b": 0.4}, -1),  # every label flipped
        ({"a": 0.32, "b": 0.56}, 0.6),  # a fifth of them: 1 - 2 / 5
    ],
)
def test_the_slope_says_how_far_labels_follow_as_before(rates: dict[str, float], slope: float) -> None:
    found = agreement(day(HALVES, rates), BEFORE)
    assert found is not None
    assert found.slope == pytest.approx(slope)


def test_click_rates_are_those_less_the_days_own() -> None:
    before = [day({"a": 0.8, "b": 0.2}, {"a": 0.2, "b": 0.6})]  # base rate 0.28: -0.08 and 0.32
    found = agreement(day(HALVES, {"a": 0.3, "b": 0.7}), before)  # base rate 0.5: -0.2 and 0.2
    assert found is not None
    assert found.slope == pytest.approx((0.5 * 0.016 + 0.5 * 0.064) / (0.5 * 0.0064 + 0.5 * 0.1024))


def test_the_error_is_that_of_the_rows() -> None:
    found = agreement(day(HALVES, {"a": 0.2, "b": 0.6}), BEFORE)
    assert found is not None
    assert found.error == pytest.approx(math.sqrt(0.4 * 0.6 / 1000) / 0.2)


def test_bins_of_numbers_count_like_ids() -> None:
    number = {"histogram": [0.5, 0.5], "rates": [0.2, 0.6]}
    before = {"rows": 10, "base_rate": 0.4, "numeric": {"price": number}, "categorical": {}}
    today = before | {"numeric": {"price": number | {"rates": [0.6, None]}}}
    found = agreement(today, [before])
    assert found is not None
    assert found.slope == pytest.approx(-1)


@pytest.mark.parametrize(
    "earlier", [[], [day(HALVES, None)], [day(HALVES, {"a": 0.4, "b": 0.4})], [day({"c": 1.0}, {"c": 0.9})]]
)
def test_nothing_is_said_where_nothing_told_clicks_apart(earlier: list[Profile]) -> None:
    assert agreement(day(HALVES, {"a": 0.2, "b": 0.6}), earlier) is None


def test_nothing_is_said_of_a_day_without_rows() -> None:
    assert agreement(day({}, {}) | {"rows": 0, "base_rate": None}, BEFORE) is None


def test_usual_ids_are_those_that_were_frequent_before() -> None:
    today = day({"a": 0.3, "c": 0.7}, None)
    assert usual_ids("user", today, BEFORE) == 0.3
    many = {f"{n:03}": 0.01 for n in range(TOP)} | {"rare": 0.001}
    assert usual_ids("user", day({"rare": 1.0}, None), [day(many, None)]) == 0
