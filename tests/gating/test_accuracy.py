"""The floor; the other rules on all rows are in test_rules.py."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recprune.gating.rule import Rule
from recprune.gating.rules import judge
from recprune.metrics.sums import sums_table
from tests.gating.judged import DAY, SETTINGS, evaluation, seen

ROWS = 5000


def scored(
    ours: float, theirs: float, rows: int = ROWS, day: str = DAY, kind: str = "tail", seed: int = 0
) -> pl.DataFrame:
    """Return sums of two models whose logits are off by so much, in either direction by chance."""
    draw = np.random.default_rng([rows, seed])
    logit = draw.normal(-1.0, 1.0, rows)
    label = (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    wrong = [1 / (1 + np.exp(-logit - off * draw.choice([-1, 1], rows))) for off in (ours, theirs)]
    return sums_table(day, kind, label, (wrong[0], wrong[1]), [])


def floor(sums: pl.DataFrame, limit: float = 1.0) -> Rule:
    rules = judge(seen(sums=sums), replace(SETTINGS.gate, ne_floor=limit))
    return {rule.name: rule for rule in rules}["floor"]


def test_a_model_that_beats_guessing_passes() -> None:
    rule = floor(scored(0.1, 0.1))
    assert rule.verdict == "passed"
    assert rule.value is not None
    assert rule.interval is not None
    low, high = rule.interval
    assert low is not None
    assert high is not None
    assert low < rule.value < high < 1.0
    assert rule.reason == f"NE {rule.value:.4f} ({low:.4f} to {high:.4f}; 5000 rows of the tail; floor 1)"


def test_one_that_is_proved_worse_than_guessing_fails_with_a_better_champion() -> None:
    rule = floor(scored(2.0, 0.1))
    assert rule.verdict == "failed"
    assert rule.distance is not None
    assert rule.distance < 0
    assert ", no better than the champion's 0.8" in rule.reason


def test_one_that_is_bad_but_better_than_what_serves_warns_only() -> None:
    rule = floor(scored(2.0, 2.5))
    assert rule.verdict == "warned"
    assert ", better than the champion's 1." in rule.reason


def test_one_that_is_as_bad_as_what_serves_fails() -> None:
    same = scored(
        2.0, 0.1
    ).with_columns(  # the champion's sums are the candidate's
        sums=pl.Series(
            [[s[0], s[1], s[1], *s[3:]] for s in scored(2.0, 0.1)["sums"].to_list()], dtype=pl.Array(pl.Float64, 8)
        )
    )
    assert floor(same).verdict == "failed"


def test_a_tail_that_cannot_tell_is_pooled_with_earlier_days() -> None:
    tail = scored(0.9, 0.1, 400)
    assert floor(tail).verdict == "undecided"
    days = [scored(0.8, 0.1, 20_000, day, "next_day", n) for n, day in enumerate(("2024-01-03", "2024-01-04"))]
    rule = floor(pl.concat([*days, tail]))
    assert rule.verdict == "passed"
    assert "; 40400 rows of 3 days; floor 1" in rule.reason


@pytest.mark.parametrize("rows", [1, 199])
def test_too_few_rows_cannot_tell(rows: int) -> None:
    rule = floor(scored(2.0, 0.1, rows))
    assert (rule.verdict, rule.value) == ("undecided", None)
    assert rule.reason == f"NE: {rows} rows of the tail are too few to judge it"


def test_rows_of_one_label_have_no_entropy() -> None:
    p = np.full(400, 0.3)
    assert floor(sums_table(DAY, "tail", np.zeros(400), (p, p), [])).verdict == "undecided"


def test_the_floor_is_a_setting() -> None:
    assert floor(scored(0.1, 0.0), 0.8).verdict == "failed"
    assert floor(scored(0.1, 0.0), 0.95).verdict == "passed"


def test_the_age_of_the_champion_is_warned_of_and_never_holds() -> None:
    def age(champion: str) -> Rule:
        return {r.name: r for r in judge(seen(found=evaluation(champion)), SETTINGS.gate)}["age"]

    assert (age("2023-12-06").verdict, age("2023-12-06").value) == ("passed", 30.0)
    old = age("2023-12-05")
    assert (old.verdict, old.distance) == ("warned", -1.0)
    assert old.reason == "champion 2023-12-05 is 31 days old, above the limit 30"
    assert age("2024-01-04").reason == "champion 2024-01-04 is 1 day old, within the limit 30"
