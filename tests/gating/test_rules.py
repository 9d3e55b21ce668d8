from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.gating.rule import Rule
from recprune.gating.rules import judge
from tests.gating.judged import CHAMPION, DAY, GOOD, RULES, SETTINGS, VALIDATION, evaluation, pruned, scores, seen
from tests.makers import settings

pytestmark = pytest.mark.usefixtures("workspace")


def rules(pool: pl.DataFrame = GOOD, *, finite: bool = True, **changes: Any) -> dict[str, Rule]:
    found = judge(seen(pruned(finite=finite), evaluation(**changes), pool), SETTINGS.gate)
    return {rule.name: rule for rule in found}


def ne(*pools: pl.DataFrame, champion: str = CHAMPION) -> Rule:
    rows = sum(len(pool) for pool in pools)
    return rules(pl.concat(pools), champion=champion, tail__rows=rows)["ne"]


def calibration(**tail: Any) -> Rule:
    return rules(tail=evaluation()["tail"] | tail)["calibration"]


def test_a_good_day_passes_every_rule() -> None:
    found = rules()
    assert list(found) == RULES
    assert {rule.verdict for rule in found.values()} == {"passed"}


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("finite", {"finite": False}, "a line was not finite after its pass"),
        (
            "schema",
            {"inputs_unchanged": False},
            (
                "the bundle's inputs differ from the champion's (new: city); once production sends them, write into "
                'params.yaml, section gate: accept_inputs: "3f2a91c0be12"'
            ),
        ),
        (
            "parity",
            {"parity": {"fp32": 2e-5}},
            "the largest difference from torch is 2e-05, above the limit 1e-05",
        ),
        (
            "budget",
            {"delivered__candidate": 0.2001},
            "the share of the dense network's FLOPs delivered is 0.2001, above the limit 0.2",
        ),
        (
            "size",
            {"bytes__candidate": 2_000_001},
            "the model file's size in MB is 2, above the limit 2",
        ),
    ],
)
def test_a_hard_bound_that_is_broken_fails(name: str, changes: dict[str, Any], reason: str) -> None:
    found = rules(**changes)
    assert (found[name].verdict, found[name].reason) == ("failed", reason)
    assert [rule.name for rule in found.values() if rule.verdict == "failed"] == [name]


@pytest.mark.parametrize(("accepted", "verdict"), [("3f2a91c0be12", "passed"), ("000000000000", "failed")])
def test_other_inputs_serve_only_if_exactly_these_were_accepted(accepted: str, verdict: str) -> None:
    evidence = seen(found=evaluation(inputs_unchanged=False))
    [found] = [r for r in judge(evidence, replace(SETTINGS.gate, accept_inputs=accepted)) if r.name == "schema"]
    assert found.verdict == verdict
    if verdict == "passed":
        assert found.reason == (
            "the bundle's inputs differ from the champion's (new: city); params.yaml, gate.accept_inputs, accepts them"
        )


@pytest.mark.parametrize(
    "changes", [{"parity": {"fp32": 1e-5}}, {"delivered__candidate": 0.2}, {"bytes__candidate": 2_000_000}]
)
def test_a_limit_itself_is_within(changes: dict[str, Any]) -> None:
    assert {rule.verdict for rule in rules(**changes).values()} == {"passed"}


def test_a_bound_says_how_much_room_was_left() -> None:
    rule = rules()["budget"]
    assert (rule.value, rule.limit) == (0.19, 0.2)
    assert rule.distance == pytest.approx(0.01)
    assert rule.reason == "the share of the dense network's FLOPs delivered is 0.19, within the limit 0.2"


# normalized entropy


def test_a_tail_that_proves_no_harm_passes() -> None:
    rule = ne(GOOD)
    assert rule.verdict == "passed"
    assert rule.interval is not None
    low, high = rule.interval
    assert low is not None
    assert high is not None
    assert rule.limit == pytest.approx(0.011)  # a day old
    found, interval = f"{100 * (rule.value or 0):+.2f} %", f"{100 * low:+.2f} to {100 * high:+.2f} %"
    assert rule.reason == (f"NE {found} against the champion's ({interval}; 4000 rows of the tail; limit +1.10 %)")


@pytest.mark.parametrize("harm", [0.02, 0.2])
def test_a_tail_that_proves_harm_fails(harm: float) -> None:
    rule = ne(scores(DAY, 4000, harm))
    assert rule.verdict == "failed"
    assert rule.value == pytest.approx(harm, abs=0.005)
    assert rule.distance == pytest.approx(0.011 - harm, abs=0.005)


def test_harm_within_the_margin_passes() -> None:
    assert ne(scores(DAY, 40_000, 0.008)).verdict == "passed"


def test_improvement_passes() -> None:
    assert ne(scores(DAY, 4000, -0.2)).verdict == "passed"


@pytest.mark.parametrize("rows", [0, 1, 100, 199])
def test_too_few_rows_cannot_tell(rows: int) -> None:
    rule = ne(scores(DAY, rows, 0.5))
    assert (rule.verdict, rule.value) == ("undecided", None)
    assert rule.reason == f"NE: {rows} rows of the tail are too few to compare"


def test_a_noisy_tail_cannot_tell() -> None:
    rule = ne(scores(DAY, 400, 0.02, noise=0.3))
    assert rule.verdict == "undecided"
    assert rule.detectable is not None
    assert rule.detectable > 0.011


def test_harm_that_is_proved_by_the_tail_is_not_taken_back_by_earlier_days() -> None:
    tail = scores(DAY, 400, 0.3, noise=0.3)
    assert ne(tail).verdict == "failed"
    assert (ne(tail).detectable or 0) > 0.011
    earlier = scores("2024-01-04", 100_000, -0.05, kind="next_day")
    assert ne(earlier, tail).verdict == "failed"


def test_earlier_days_are_pooled_when_the_tail_cannot_tell() -> None:
    tail = scores(DAY, 400, 0.0, noise=0.3)
    first, second = (scores(day, 20_000, 0.0, kind="next_day") for day in ("2024-01-03", "2024-01-04"))
    assert ne(tail).verdict == "undecided"
    rule = ne(first, second, tail)
    assert rule.verdict == "passed"
    assert "; 40400 rows of 3 days; " in rule.reason


def test_earlier_days_that_prove_harm_fail() -> None:
    tail = scores(DAY, 400, 0.0, noise=0.3)
    assert ne(scores("2024-01-04", 20_000, 0.03, kind="next_day"), tail).verdict == "failed"


def test_the_champions_age_counts_against_holding() -> None:
    harmful = scores(DAY, 4000, 0.03)
    assert ne(harmful, champion="2024-01-04").verdict == "failed"
    rule = ne(harmful, champion="2023-12-06")
    assert rule.verdict == "passed"
    assert rule.limit == pytest.approx(0.04)


def test_the_same_model_twice_differs_in_nothing() -> None:
    same = GOOD.with_columns(served="champion")
    rule = ne(same)
    assert (rule.verdict, rule.value, rule.interval, rule.detectable) == ("passed", 0, (0, 0), 0)


@given(st.integers(0, 600), st.floats(-0.5, 0.5), st.floats(0.001, 0.5))
def test_a_failed_rule_has_its_interval_beyond_the_limit(rows: int, harm: float, noise: float) -> None:
    rule = ne(scores(DAY, rows, harm, noise=noise))
    if rule.interval is None:
        assert rule.verdict == "undecided"
        return
    low, high = rule.interval
    assert low is not None
    assert high is not None
    assert rule.limit is not None
    assert rule.value is not None
    assert low <= rule.value <= high
    assert (rule.verdict == "failed") == (low > rule.limit)


# calibration


@pytest.mark.parametrize(
    ("tail", "verdict"),
    [
        ({"calibration": {"candidate": 1.1, "champion": 1.0}}, "passed"),
        ({"calibration": {"candidate": 1.13, "champion": 1.0}}, "passed"),  # chance explains 0.039
        ({"calibration": {"candidate": 1.15, "champion": 1.0}}, "failed"),
        ({"calibration": {"candidate": 0.85, "champion": 1.0}}, "failed"),
        ({"calibration": {"candidate": 0.85, "champion": 0.8}}, "passed"),  # better than what serves
        ({"calibration": {"candidate": 0.85, "champion": 1.2}}, "passed"),
        ({"calibration": {"candidate": 1.15, "champion": 1.0}, "rows": 400}, "undecided"),
        ({"calibration": {"candidate": 1.5, "champion": 1.0}, "rows": 400}, "failed"),
        ({"calibration": {"candidate": None, "champion": None}, "rows": 0, "base_rate": None}, "undecided"),
        ({"calibration": {"candidate": None, "champion": None}, "base_rate": 0.0}, "undecided"),
        ({"calibration": {"candidate": 1.0, "champion": 1.0}, "base_rate": 1.0}, "passed"),
    ],
)
def test_calibration_is_held_for_proven_harm_alone(tail: dict[str, Any], verdict: str) -> None:
    assert calibration(**tail).verdict == verdict


def test_a_calibration_says_what_chance_explains() -> None:
    rule = calibration(calibration={"candidate": 1.15, "champion": 0.98})
    assert rule.reason == (
        "mean prediction / base rate is 1.150 ± 0.039 on 10000 rows, limit 1 ± 0.1, the champion's is 0.980"
    )
    assert rule.detectable == pytest.approx(1.96 * (0.8 / 0.2 / 10_000) ** 0.5, rel=1e-3)
    assert rule.distance == pytest.approx(-0.05)


def test_after_a_lower_budget_a_candidate_no_heavier_than_the_champion_passes() -> None:
    rule = rules(delivered={"candidate": 0.2997, "champion": 0.2999})["budget"]
    assert (rule.verdict, rule.limit) == ("passed", 0.2999)
    assert rules(delivered={"candidate": 0.2997, "champion": 0.2996})["budget"].verdict == "failed"


# churn


def churn(came: int, went: int, *, takeover: bool = False) -> Rule:
    found = judge(seen(pruned(came, went, takeover=takeover)), SETTINGS.gate)
    return {rule.name: rule for rule in found}["churn"]


@pytest.mark.parametrize(
    ("came", "went", "verdict", "reason"),
    [
        (0, 0, "passed", "0.0 % of the served mask changed, within the limit 25 %"),
        (2, 2, "passed", "9.5 % of the served mask changed (inputs +2 −2), within the limit 25 %"),
        (0, 10, "passed", "25.0 % of the served mask changed (inputs +0 −10), within the limit 25 %"),
        (6, 6, "failed", "26.1 % of the served mask changed (inputs +6 −6), above the limit 25 %"),
        (20, 20, "failed", "66.7 % of the served mask changed (inputs +20 −20), above the limit 25 %"),
    ],
)
def test_more_churn_than_swaps_explain_fails(came: int, went: int, verdict: str, reason: str) -> None:
    rule = churn(came, went)
    assert (rule.verdict, rule.reason, rule.limit) == (verdict, reason, 0.25)
    assert rule.value == pytest.approx((came + went) / (40 + came))
    assert rule.distance == pytest.approx(0.25 - (came + went) / (40 + came))


def test_a_takeover_is_reported_and_holds_nothing() -> None:
    rule = churn(20, 20, takeover=True)
    assert (rule.verdict, rule.limit, rule.distance) == ("passed", None, None)
    assert rule.value == pytest.approx(40 / 60)
    assert rule.reason == (
        "66.7 % of the served mask changed (inputs +20 −20): a challenger took over, and no limit holds today"
    )


def test_the_packaged_limit_lets_an_ordinary_day_of_any_usual_network_pass() -> None:
    packaged = settings()
    swap, groups = packaged.prune.swap, 56
    assert 2 * swap / (groups + swap) <= packaged.gate.max_churn < 2 * swap / (groups - 1 + swap)


def measured(candidate: float, champion: float, batch: str = "128") -> dict[str, Any]:
    times = {"candidate": candidate, "champion": champion}
    return {"latency": {name: {"1": {"p50_us": 1.0}, batch: {"p50_us": time}} for name, time in times.items()}}


@pytest.mark.parametrize(("candidate", "verdict"), [(100.0, "passed"), (200.0, "passed"), (201.0, "failed")])
def test_latency_is_a_multiple_of_the_champions(candidate: float, verdict: str) -> None:
    [rule] = [r for r in judge(seen(measured=measured(candidate, 100.0)), SETTINGS.gate) if r.name == "latency"]
    assert (rule.verdict, rule.limit) == (verdict, 2.0)
    if verdict == "passed":
        assert rule.value is None, "the measured time stays out of gate.json, or two runs would differ"
        assert rule.reason == (
            "the median call of 128 rows takes at most 2 times the champion's; measurements.json has it"
        )
    else:
        assert rule.reason == "the median call of 128 rows takes 2.01 times the champion's, above the limit 2"


@pytest.mark.parametrize(
    "latency", [{"candidate": {}, "champion": {}}, {"candidate": {"1": {}}, "champion": {"2": {}}}]
)
def test_without_a_measured_latency_the_day_is_held(latency: dict[str, Any]) -> None:
    [rule] = [r for r in judge(seen(measured={"latency": latency}), SETTINGS.gate) if r.name == "latency"]
    told = "a batch size of which both latencies are known is missing in measurements.json"
    assert (rule.verdict, rule.reason) == ("failed", f"the rule latency cannot be judged: {told}")


# a raised budget


def slower(ours: float, theirs: float, times: float, asked: float = 0.36) -> Rule:
    """Return the verdict on a candidate that keeps and takes so much more than the champion."""
    found = evaluation(delivered={"candidate": ours, "champion": theirs})
    day = seen({**pruned(), "asked": asked}, found, measured=measured(100.0 * times, 100.0))
    return {rule.name: rule for rule in judge(day, SETTINGS.gate)}["latency"]


def test_after_a_higher_budget_a_candidate_may_take_longer_as_much_as_it_may_keep() -> None:
    rule = slower(0.36, 0.12, 5.9)
    assert (rule.verdict, rule.limit) == ("passed", pytest.approx(6.0))
    assert rule.reason == (
        "the median call of 128 rows takes at most 6 times the champion's (raised 3.00 times: the candidate keeps 36 % "
        "of the dense network, within what is asked, the champion 12 %); measurements.json has it"
    )
    rule = slower(0.36, 0.12, 6.1)
    assert (rule.verdict, rule.value) == ("failed", pytest.approx(6.1))
    assert rule.reason.startswith(
        "the median call of 128 rows takes 6.10 times the champion's, above the limit 6 (raised"
    )


def test_what_is_kept_beyond_the_budget_relieves_nothing() -> None:
    assert slower(0.36, 0.12, 2.1, asked=0.12).limit == 2.0
    assert slower(0.36, 0.12, 5.0, asked=0.24).limit == pytest.approx(4.0)


def test_widths_that_move_a_little_relieve_nothing() -> None:
    assert slower(0.2, 0.195, 2.1, asked=0.2).limit == 2.0
    assert slower(0.1, 0.2, 1.0).limit == 2.0


# rejected rows


@pytest.mark.parametrize(("aside", "verdict"), [(0, "passed"), (20, "passed"), (21, "failed")])
def test_too_many_rejected_rows_fail(aside: int, verdict: str) -> None:
    day = seen(validation=VALIDATION | {"counts": {"read": 1000, "rejected": aside}})
    rule = {rule.name: rule for rule in judge(day, SETTINGS.gate)}["rejected"]
    assert (rule.verdict, rule.value, rule.limit) == (verdict, aside / 1000, 0.02)
    within = "within" if verdict == "passed" else "above"
    assert rule.reason == f"{aside} of 1,000 rows were rejected, {aside / 10:.2f} %, {within} the limit 2 %"
