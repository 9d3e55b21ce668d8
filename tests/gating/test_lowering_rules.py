"""The rules on what was exported: is it sparse, and what does rounding cost?"""

from typing import Any

import pytest

from recprune.gating.rule import Rule
from recprune.gating.rules import judge
from tests.gating.judged import DELIVERED, SETTINGS, evaluation, seen

pytestmark = pytest.mark.usefixtures("workspace")


def rule(name: str, *, delivered: Any = DELIVERED, **rounding: Any) -> Rule:
    found = evaluation(rounding=evaluation()["rounding"] | rounding)
    return {r.name: r for r in judge(seen(found=found, delivered=delivered), SETTINGS.gate)}[name]


def test_a_file_that_is_neither_smaller_nor_faster_is_held() -> None:
    facts = {"bytes": {"dense": 1000, "served": 1500}}
    found = rule("sparse", delivered={"facts": facts, "sparse": False})
    assert (found.verdict, found.value, found.distance) == ("failed", 1.5, -0.5)
    assert found.reason == "the model file has 1,500 bytes, the dense network's 1,000, and is not faster either"
    assert rule("sparse", delivered={"facts": facts, "sparse": True}).verdict == "passed"


def test_no_time_is_told_where_the_rule_passes() -> None:
    found = rule("sparse")
    assert (found.verdict, found.value, found.limit) == ("passed", None, None)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.001, 0.001, "passed"), (0.0, 0.01, "passed"), (0.002, 0.004, "passed"), (0.0021, 0.004, "failed")],
)
def test_rounding_is_held_for_proven_harm_alone(low: float, high: float, verdict: str) -> None:
    found = rule("rounding", low=low, high=high, difference=(low + high) / 2)
    assert (found.verdict, found.interval, found.limit) == (verdict, (low, high), 0.002)


def test_rounding_says_what_it_costs() -> None:
    told = "rounding to 8 bits costs 0.01 % of NE on 500 rows (95 % interval -0.02 to 0.04, limit 0.2)"
    assert rule("rounding").reason == told
    assert rule("rounding", rounded=False).reason == "nothing is rounded: the model is fp32"


def test_too_few_rows_cannot_tell_what_rounding_costs() -> None:
    found = rule("rounding", rows=20, low=None, high=None, detectable=None)
    assert (found.verdict, found.reason) == ("undecided", "20 rows are too few to say what rounding costs")


def test_an_interval_that_is_missing_where_there_are_rows_enough_holds() -> None:
    found = rule("rounding", rows=500, low=None)
    assert (found.verdict, found.reason) == (
        "failed", "the rule rounding cannot be judged: rounding.low is null in evaluation.json"
    )  # fmt: skip
