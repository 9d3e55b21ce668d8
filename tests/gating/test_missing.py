"""Every number that a rule reads, taken away: the rule holds and says which number is missing where."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from recprune.gating.evidence import FILES
from recprune.gating.limits import GATE_RULES
from recprune.gating.rule import Rule
from recprune.gating.rules import judge, verdict
from tests.gating.judged import DAY, DELIVERED, GOOD, MEASURED, SETTINGS, SUMS, VALIDATION, evaluation, pruned, seen

READ = {
    "finite": ["pruned finite"],
    "schema": ["evaluation inputs_unchanged"],
    "parity": ["evaluation parity fp32"],
    "rounding": ["evaluation rounding rounded", "evaluation rounding rows", "evaluation rounding difference"],
    "budget": ["evaluation delivered candidate", "evaluation delivered champion", "pruned asked"],
    "sparse": ["delivered facts bytes served", "delivered facts bytes dense", "delivered sparse"],
    "size": ["evaluation bytes candidate"],
    "latency": [
        "measurements latency candidate 128 p50_us", "measurements latency champion 128 p50_us",
        "evaluation delivered candidate", "evaluation delivered champion", "pruned asked",
    ],
    "ne": ["evaluation champion_day", "evaluation tail rows"],
    "floor": ["evaluation tail rows"],
    "slices": ["evaluation champion_day", "evaluation tail rows"],
    "calibration": [
        "evaluation tail rows", "evaluation tail base_rate", "evaluation tail calibration candidate",
        "evaluation tail calibration champion",
    ],
    "slice_calibration": ["evaluation tail rows"],
    "churn": ["pruned churn overall", "pruned churn takeover", "pruned churn kinds", "pruned churn kinds inputs came"],
    "rejected": ["validation counts read", "validation counts rejected"],
    "age": ["evaluation champion_day"],
}  # fmt: skip
"""What each rule reads of the JSON files: part, then the path in it."""
PLACES = sorted({place for places in READ.values() for place in places})
GOOD_DAY = {
    "pruned": pruned(),
    "evaluation": evaluation(),
    "measurements": MEASURED,
    "validation": VALIDATION,
    "delivered": DELIVERED,
}


def changed(place: str, change: Callable[[dict[str, Any], str], None]) -> dict[str, Rule]:
    part, *path = place.split()
    found = copy.deepcopy(GOOD_DAY)
    inner: Any = found[part]
    for name in path[:-1]:
        inner = inner[name]
    change(inner, path[-1])
    day = replace(seen(), **found)
    return {rule.name: rule for rule in judge(day, SETTINGS.gate)}


def gone(inner: dict[str, Any], name: str) -> None:
    del inner[name]


def null(inner: dict[str, Any], name: str) -> None:
    inner[name] = None


def nan(inner: dict[str, Any], name: str) -> None:
    inner[name] = math.nan


def test_every_rule_stands_in_the_table() -> None:
    assert tuple(READ) == GATE_RULES


@pytest.mark.parametrize(("change", "shown"), [(gone, "missing"), (null, "null"), (nan, "nan")])
@pytest.mark.parametrize("place", PLACES)
def test_a_rule_without_its_number_fails_and_says_which(
    place: str, change: Callable[[dict[str, Any], str], None], shown: str
) -> None:
    rules, (part, *path) = changed(place, change), place.split()
    readers = {name for name, places in READ.items() if place in places}
    assert {name for name, rule in rules.items() if rule.verdict == "failed"} == readers
    for name in readers:
        told = f"the rule {name} cannot be judged: {'.'.join(path)} is {shown} in {FILES[part]}"
        assert rules[name].reason == told


@pytest.mark.parametrize("part", FILES)
@pytest.mark.parametrize("content", [{}, None, [], 3], ids=repr)
def test_a_file_without_content_fails_every_rule_that_reads_it(part: str, content: object) -> None:
    rules = {rule.name: rule for rule in judge(replace(seen(), **{part: content}), SETTINGS.gate)}
    readers = {name for name, places in READ.items() if any(place.split()[0] == part for place in places)}
    assert {name for name, rule in rules.items() if rule.verdict == "failed"} == readers
    for name in readers:
        assert f"is missing in {FILES[part]}" in rules[name].reason


@pytest.mark.parametrize("value", [math.nan, None, math.inf])
@pytest.mark.parametrize("column", ["served", "champion"])
def test_a_loss_that_is_missing_fails_the_ne(column: str, value: float | None) -> None:
    broken = GOOD.with_columns(pl.when(pl.int_range(pl.len()) == 7).then(value).otherwise(column).alias(column))
    [rule] = [rule for rule in judge(seen(pool=broken), SETTINGS.gate) if rule.verdict == "failed"]
    assert rule.reason == (
        f"the rule ne cannot be judged: 1 of 4000 losses of column {column} are missing in pooled.parquet, the first "
        f"on {DAY}"
    )


def test_the_days_own_rows_must_be_in_the_pool() -> None:
    rules = {rule.name: rule for rule in judge(seen(pool=GOOD[:0], sums=SUMS[:0]), SETTINGS.gate)}
    failed = {name: rule.reason for name, rule in rules.items() if rule.verdict == "failed"}
    assert set(failed) == {"ne", "floor", "slices", "slice_calibration"}
    told = f"cannot be judged: the tail of {DAY}, 10000 rows, is missing in"
    assert failed["ne"] == f"the rule ne {told} pooled.parquet"
    assert failed["slices"] == f"the rule slices {told} sums.parquet"


@pytest.mark.parametrize("column", ["sums", "products"])
@pytest.mark.parametrize("value", [math.nan, None])
def test_a_sum_that_is_missing_fails_what_reads_it(column: str, value: float | None) -> None:
    rows = SUMS[column].to_list()
    rows[2] = [value, *rows[2][1:]]
    rules = judge(seen(sums=SUMS.with_columns(pl.Series(column, rows, dtype=SUMS.schema[column]))), SETTINGS.gate)
    failed = {rule.name: rule.reason for rule in rules if rule.verdict == "failed"}
    assert set(failed) == {"floor", "slices", "slice_calibration"}
    assert failed["slices"] == (
        f"the rule slices cannot be judged: 1 of {len(SUMS)} rows of column {column} have no number in sums.parquet, "
        f"the first is that of group 1 on {DAY}"
    )


def test_sums_that_an_earlier_version_did_not_write_are_told() -> None:
    failed = {rule.name: rule.reason for rule in judge(seen(sums=None), SETTINGS.gate) if rule.verdict == "failed"}
    assert set(failed) == {"floor", "slices", "slice_calibration"}
    assert failed["floor"] == (
        f"the rule floor cannot be judged: sums.parquet is missing: an earlier version of recprune evaluated {DAY}"
    )


def test_a_day_whose_champion_is_missing_is_held_all_the_same() -> None:
    found = verdict(replace(seen(), evaluation={}), SETTINGS.gate)
    assert (found["verdict"], found["champion_day"]) == ("held", None)
    assert found["sentence"].endswith(". The champion keeps serving.")


def test_a_tail_without_rows_misses_nothing() -> None:
    """An empty tail has no base rate and no calibration; what is not defined is not missing."""
    tail = {"rows": 0, "base_rate": None, "calibration": {"candidate": None, "champion": None}}
    rules = judge(seen(found=evaluation(tail=tail), pool=GOOD[:0], sums=SUMS[:0]), SETTINGS.gate)
    assert not [rule for rule in rules if rule.verdict == "failed"]
    undecided = {rule.name: rule.reason for rule in rules if rule.verdict == "undecided"}
    assert set(undecided) == {"ne", "floor", "slices", "calibration", "slice_calibration"}
    assert undecided["floor"] == "NE: 0 rows of the tail are too few to judge it"
