import copy
from dataclasses import replace
from typing import Any

import pytest

from recprune.data.expectations import Expectation, expectations
from recprune.data.profile import Profile
from recprune.settings import ValidateSettings
from tests.makers import settings

RULES = replace(settings().validate, share_margin=0.1, rows_factor=5.0, mean_margin=1.0, max_psi=0.5)


def profile(day: str = "2024-01-04", **changes: Any) -> Profile:
    found: Profile = {
        "day": day,
        "rows": 10_000,
        "base_rate": 0.2,
        "shares": {"rejected": 0.01, "duplicate": 0.0, "late": 0.0},
        "numeric": {
            "price": {
                "missing": 0.05,
                "mean": 10.0,
                "std": 2.0,
                "min": 0.0,
                "max": 30.0,
                "edges": [10.0],
                "histogram": [0.5, 0.5],
            }
        },
        "categorical": {"user": {"missing": 0.0, "unique": 500, "new": 0.02, "top": {"1": 0.6, "2": 0.4}}},
    }
    for name, value in changes.items():
        place: Any = found
        *path, last = name.split("__")
        for part in path:
            place = place[part]
        place[last] = value
    return found


EARLIER = [profile(f"2024-01-0{n}", base_rate=0.2 + n / 1000) for n in (1, 2, 3, 4)]


def met(today: Profile, earlier: list[Profile] = EARLIER, rules: ValidateSettings = RULES) -> dict[str, bool]:
    return {e.name: _met(e) for e in expectations(today, earlier, rules)}


def _met(e: Expectation) -> bool:
    return (
        e.observed is not None and (e.low is None or e.observed >= e.low) and (e.high is None or e.observed <= e.high)
    )


def test_a_usual_day_meets_every_expectation() -> None:
    found = met(profile("2024-01-05"))
    assert all(found.values()), found
    assert list(found) == [
        "rows",
        "share of rejected rows",
        "share of duplicate rows",
        "share of late rows",
        "base rate",
        "rows vs the usual",
        "base rate vs the usual",
        "price: share missing",
        "price: mean",
        "price: PSI",
        "user: share missing",
        "user: share of new ids",
        "user: distinct ids",
        "user: share of the top id",
        "user: PSI",
    ]


def test_before_3_good_days_the_settings_bounds_alone_hold() -> None:
    assert list(met(profile(), EARLIER[:2])) == list(met(profile(), []))[:5]
    assert len(met(profile(), EARLIER[:3])) == 15


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"rows": 99}, {"rows", "rows vs the usual"}),
        ({"rows": 1999}, {"rows vs the usual"}),
        ({"rows": 2000}, set()),
        ({"rows": 50_001}, {"rows vs the usual"}),
        ({"base_rate": 0.35}, {"base rate vs the usual"}),
        ({"base_rate": 0.29}, set()),
        ({"base_rate": 0.95}, {"base rate", "base rate vs the usual"}),
        ({"base_rate": None}, {"base rate", "base rate vs the usual"}),
        ({"shares__rejected": 0.021}, {"share of rejected rows"}),
        ({"shares__rejected": 0.02}, set()),
        ({"shares__duplicate": 0.11}, {"share of duplicate rows"}),
        ({"shares__late": 0.21}, {"share of late rows"}),
        ({"numeric__price__missing": 0.3}, {"price: share missing"}),
        ({"numeric__price__missing": None}, {"price: share missing"}),
        ({"numeric__price__mean": 12.1}, {"price: mean"}),
        ({"numeric__price__mean": 11.9}, set()),
        ({"numeric__price__histogram": [0.05, 0.95]}, {"price: PSI"}),
        ({"categorical__user__missing": 0.3}, {"user: share missing"}),
        ({"categorical__user__new": 0.45}, {"user: share of new ids"}),
        ({"categorical__user__new": 0.3}, set()),
        ({"categorical__user__new": 0.0}, set()),
        ({"categorical__user__new": None}, set()),
        ({"categorical__user__unique": 99}, {"user: distinct ids"}),
        ({"categorical__user__top": {"1": 0.02, "2": 0.98}}, {"user: share of the top id", "user: PSI"}),
        ({"categorical__user__top": {"1": 0.72, "2": 0.28}}, {"user: share of the top id"}),
        ({"categorical__user__top": {"1": 0.7, "2": 0.3}}, set()),
    ],
)
def test_each_measure_has_its_bound(changes: dict[str, Any], failed: set[str]) -> None:
    assert {name for name, good in met(profile("2024-01-05", **changes)).items() if not good} == failed


def test_a_mean_without_values_is_left_to_the_share_missing() -> None:
    today = profile(numeric__price__missing=1.0, numeric__price__mean=None, numeric__price__std=None)
    found = met(today)
    assert not found["price: share missing"]
    assert "price: mean" not in found


def test_bounds_widen_with_the_compared_days_own_spread() -> None:
    restless = [profile(f"2024-01-0{n}", base_rate=rate) for n, rate in enumerate((0.1, 0.2, 0.3, 0.2), 1)]
    today = profile(base_rate=0.6)
    assert not met(today)["base rate vs the usual"]
    assert met(today, restless)["base rate vs the usual"]


def test_bounds_widen_with_the_noise_of_a_small_day() -> None:
    rules = replace(RULES, share_margin=0.01)
    assert not met(profile(rows=10_000, base_rate=0.25), rules=rules)["base rate vs the usual"]
    assert met(profile(rows=100, base_rate=0.25), rules=rules)["base rate vs the usual"]


def test_a_feature_that_differs_every_day_is_no_sign_of_harm() -> None:
    weekdays = [
        profile(f"2024-01-0{n}", numeric__price__histogram=h) for n, h in enumerate(([1, 0], [0, 1], [1, 0]), 1)
    ]
    assert met(profile(numeric__price__histogram=[0, 1]), weekdays)["price: PSI"]


FORTNIGHT = [profile(f"2024-01-{n:02}") for n in range(1, 15)]


@pytest.mark.parametrize(
    ("top", "good"),
    [
        ({"1": 0.4, "8": 0.3, "9": 0.3}, True),
        ({"1": 0.385, "8": 0.3, "9": 0.315}, True),
        ({"1": 0.38, "8": 0.3, "9": 0.32}, False),  # at least 1 - 0.6, less 4 · √(0.4 · 0.6 / 10,000) = 0.0196
        ({"7": 0.3, "8": 0.3, "9": 0.4}, False),
    ],
)
def test_some_popular_ids_may_go_and_most_at_once_may_not(top: dict[str, float], good: bool) -> None:
    found = met(profile("2024-01-15", categorical__user__top=top), FORTNIGHT)
    assert found["user: share of usual ids"] == good
    assert "user: share of usual ids" not in met(profile("2024-01-07", categorical__user__top=top), FORTNIGHT[:6])


def told(day: str, low: float, high: float, **changes: Any) -> Profile:
    """Return a day on which the user 1 clicks less often than the user 2."""
    return profile(day, base_rate=0.2, categorical__user__rates={"1": low, "2": high}, **changes)


WEEK = [told(f"2024-01-0{n}", 0.1, 0.35) for n in range(1, 8)]


@pytest.mark.parametrize(
    ("low", "high", "good"),
    [
        (0.1, 0.35, True),
        (0.14, 0.29, True),  # slope 0.6, at least 0.6 less four standard errors
        (0.18, 0.23, False),  # 0.2: four of ten labels flipped
        (0.2, 0.2, False),  # 0: ids renumbered, all of them
        (0.35, 0.1, False),  # below 0: flipped
    ],
)
def test_labels_must_follow_from_features_as_before(low: float, high: float, good: bool) -> None:
    assert met(told("2024-01-08", low, high), WEEK)["agreement of labels with features"] == good


def test_labels_that_stay_flipped_are_never_accepted_and_those_that_follow_less_are() -> None:
    name = "agreement of labels with features"
    assert not met(told("2024-03-01", 0.35, 0.1), WEEK)[name]
    assert not met(told("2024-01-08", 0.17, 0.24), WEEK)[name]
    assert met(told("2024-03-01", 0.17, 0.24), WEEK)[name]


def test_a_small_day_may_agree_less() -> None:
    assert not met(told("2024-01-08", 0.18, 0.23), WEEK)["agreement of labels with features"]
    assert met(told("2024-01-08", 0.18, 0.23, rows=100), WEEK)["agreement of labels with features"]


def test_a_stream_whose_labels_follow_from_other_ids_every_day_is_no_sign_of_harm() -> None:
    restless = [told(f"2024-01-0{n}", *((0.1, 0.35) if n % 2 else (0.3, 0.05))) for n in range(1, 8)]
    for low, high in ((0.1, 0.35), (0.3, 0.05)):
        assert "agreement of labels with features" not in met(told("2024-01-08", low, high), restless)


def test_profiles_of_before_there_were_click_rates_say_nothing_of_labels() -> None:
    assert "agreement of labels with features" not in met(told("2024-01-05", 0.35, 0.1))


def test_profiles_are_not_changed() -> None:
    today, earlier = profile(), copy.deepcopy(EARLIER)
    expectations(today, earlier, RULES)
    assert (today, earlier) == (profile(), EARLIER)


@pytest.mark.parametrize(
    ("expectation", "sentence"),
    [
        (
            Expectation("rows", 7, 100, None),
            "rows is 7, expected at least 100 (from params.yaml)",
        ),
        (
            Expectation("share of late rows", 0.25, None, 0.2),
            "share of late rows is 0.25, expected at most 0.2 (from params.yaml)",
        ),
        (
            Expectation("base rate", None, 0.0001, 0.9),
            "base rate is nothing, expected at least 0.0001 and at most 0.9 (from params.yaml)",
        ),
        (
            Expectation("price: mean", 12.34567, -1.0, 3.25, ("2024-01-01", "2024-01-02", "2024-01-04")),
            (
                "price: mean is 12.35, expected at least -1 and at most 3.25 "
                "(from 3 good days, 2024-01-01 to 2024-01-04)"
            ),
        ),
        (
            Expectation("rows vs the usual", 1_234_567, 2469.6, 61_740, ("2024-01-01", "2024-01-02")),
            (
                "rows vs the usual is 1,234,567, expected at least 2,470 and at most 61,740 "
                "(from 2 good days, 2024-01-01 to 2024-01-02)"
            ),
        ),
    ],
)
def test_a_sentence_says_observed_expected_and_whence(expectation: Expectation, sentence: str) -> None:
    assert expectation.sentence() == sentence


def test_a_feature_that_is_one_value_a_day_is_not_quarantined_when_the_week_begins_again() -> None:
    """A weekday: new every day for a week, never new again, and wholly different from day to day."""
    week = [
        profile(f"2024-01-0{n}", categorical__user__new=1.0, categorical__user__top={str(n): 1.0}) for n in range(1, 8)
    ]
    found = met(profile("2024-01-08", categorical__user__new=0.0, categorical__user__top={"1": 1.0}), week)
    assert all(found.values()), found


def test_a_lasting_change_is_accepted_after_some_days_and_flipped_labels_never() -> None:
    changed = {"categorical__user__new": 0.5, "numeric__price__mean": 15.0, "rows": 60_000}
    assert {name for name, good in met(profile("2024-01-05", **changed)).items() if not good} == {
        "user: share of new ids",
        "price: mean",
        "rows vs the usual",
    }
    assert all(met(profile("2024-01-07", **changed)).values())
    assert not met(profile("2024-03-01", base_rate=0.8))["base rate vs the usual"]
