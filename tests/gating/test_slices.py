import re
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from recprune.gating.limits import GateSettings
from recprune.gating.rule import Rule
from recprune.gating.rules import judge
from recprune.metrics.sums import sums_table
from tests.gating.judged import DAY, SETTINGS, evaluation, seen, sliced

EARLIER = ("2024-01-02", "2024-01-03")
VALUES = (12, 12, 5, 2)
"""Of four features that are independent of everything: 31 slices."""


def told(sums: pl.DataFrame, name: str = "slices", settings: GateSettings = SETTINGS.gate) -> Rule:
    return {rule.name: rule for rule in judge(seen(sums=sums), settings)}[name]


def test_a_harmed_slice_is_found_and_named() -> None:
    rule = told(sliced(rows=20_000, harmed=1.0))
    assert rule.verdict == "failed"
    pattern = (
        r"NE against the champion's proves harm on 1 of 8 slices of the tail \(limit \+5\.10 %\): "
        r"group = 3 \+1\d\.\d\d % \(\+1\d\.\d\d % to \+2\d\.\d\d %; 25\d\d rows\); "
        r"0\.\d\d % to \d\.\d\d % would have shown, depending on the slice"
    )
    assert re.fullmatch(pattern, rule.reason), rule.reason
    assert rule.value is not None
    assert rule.interval is not None
    assert rule.interval[0] is not None
    assert rule.interval[0] > 0.051 == pytest.approx(rule.limit)
    assert rule.distance == pytest.approx(0.051 - rule.value)


def test_its_calibration_is_told_with_the_champions() -> None:
    rule = told(sliced(rows=20_000, harmed=1.0), "slice_calibration")
    assert rule.verdict == "failed"
    assert re.search(
        r"proves harm on 1 of 8 slices .*: group = 3 1\.6\d\d \(1\.\d{3} to 1\.\d{3}; the champion's ", rule.reason
    )
    assert rule.distance is not None
    assert rule.distance < -0.4
    too_low = told(sliced(rows=20_000, harmed=-1.0), "slice_calibration")
    assert too_low.verdict == "failed"
    assert "group = 3 0.5" in too_low.reason


def test_models_that_are_alike_pass_where_the_rows_could_have_shown_harm() -> None:
    rule = told(sliced(rows=20_000))
    assert rule.verdict == "passed"
    assert rule.reason.startswith(
        "NE against the champion's proves no harm on any of 8 slices of the tail (limit +5.10 %), "
    )


def test_few_rows_cannot_tell_and_say_what_they_could_have_seen() -> None:
    rule = told(sliced(rows=1700, noise=1.0))
    assert rule.verdict == "undecided"
    assert re.search(r"; \d could not tell; \d+\.\d\d % to \d+\.\d\d % would have shown", rule.reason)
    assert (rule.detectable or 0) > 0.051
    nothing = told(sliced(rows=199))
    assert (nothing.verdict, nothing.value) == ("undecided", None)
    assert nothing.reason == "NE against the champion's: no slice of the tail has the 200 rows that it takes"


def test_earlier_days_are_pooled_until_it_can_tell() -> None:
    tail = sliced(rows=1200, harmed=0.8)
    assert told(tail).verdict == "undecided"
    days = [sliced(day, 8000, harmed=0.8, kind="next_day", seed=n) for n, day in enumerate(EARLIER)]
    rule = told(pl.concat([*days, tail]))
    assert rule.verdict == "failed"
    assert "proves harm on 1 of 8 slices of 3 days" in rule.reason


def test_a_slice_that_is_nearly_all_rows_or_too_small_is_not_asked() -> None:
    draw = np.random.default_rng(1)
    p, label = np.full(5000, 0.3), (draw.random(5000) < 0.3).astype(np.float64)
    nearly = pl.Series(np.where(np.arange(5000) < 199, "rare", "usual"))
    rule = told(sums_table(DAY, "tail", label, (p, p), [("kind", nearly)]))
    assert rule.reason == "NE against the champion's: no slice of the tail has the 200 rows that it takes"


def test_a_slice_that_is_off_for_both_models_holds_nothing() -> None:
    """The champion is as wrong there: promoting the candidate does no harm."""
    draw = np.random.default_rng(2)
    group = draw.integers(0, 4, 20_000)
    true = np.where(group == 3, 0.2, 0.4)
    label = (draw.random(20_000) < true).astype(np.float64)
    theirs = np.full(20_000, 0.4) + draw.normal(0, 0.02, 20_000)
    table = sums_table(DAY, "tail", label, (theirs + 0.002, theirs), [("group", pl.Series(group))])
    rule = told(table, "slice_calibration")
    assert rule.verdict != "failed"
    assert re.search(
        r"nearest to it is group = 3 [12]\.[09]\d\d \(.*the champion's 1\.9\d\d; 5\d\d\d rows", rule.reason
    )
    worse = sums_table(DAY, "tail", label, (theirs + 0.05, theirs), [("group", pl.Series(group))])
    assert told(worse, "slice_calibration").verdict == "failed"


def test_the_champions_age_widens_the_margin() -> None:
    sums = sliced(rows=20_000, harmed=1.0)
    old = evaluation("2023-08-01")
    rules = {rule.name: rule for rule in judge(seen(found=old, sums=sums), SETTINGS.gate)}
    assert rules["slices"].limit == pytest.approx(0.05 + 0.157)
    assert rules["slices"].verdict != "failed"


def test_both_can_be_switched_off_and_softened() -> None:
    sums = sliced(rows=20_000, harmed=1.0)
    assert told(sums, "slices", replace(SETTINGS.gate, warn=("slices",))).verdict == "warned"
    names = [rule.name for rule in judge(seen(sums=sums), replace(SETTINGS.gate, skip=("slices", "slice_calibration")))]
    assert not {"slices", "slice_calibration"} & set(names)


# false alarms

DAYS = 200
NO_MARGIN = replace(SETTINGS.gate, slice_margin=1e-9, age_relief=0.0)
"""No difference at all is allowed, so that every truth without harm lies on the limit."""


@cache
def day_of(seed: int, *, base: float, rows: int, harmed: float = 0.0) -> pl.DataFrame:
    """Return three days of two models that err alike; the candidate is worse where the first feature is 7."""
    draw, tables = np.random.default_rng(seed), []
    for day, kind, n in ((EARLIER[0], "next_day", rows), (EARLIER[1], "next_day", rows), (DAY, "tail", rows // 8)):
        logit, columns = draw.normal(base, 1, n), [draw.integers(0, v, n) for v in VALUES]
        label = (draw.random(n) < 1 / (1 + np.exp(-logit))).astype(np.float64)
        away = [draw.normal(0, 0.1, n) for _ in range(2)]
        away[0] += harmed * (columns[0] == 7) * draw.choice([-1, 1], n)
        ours, theirs = (1 / (1 + np.exp(-logit - each)) for each in away)
        named = [(f"f{k}", pl.Series(values)) for k, values in enumerate(columns)]
        tables.append(sums_table(day, kind, label, (ours, theirs), named))
    return pl.concat(tables)


def false_alarms(base: float, rows: int, days: int) -> float:
    """Return the share of days without harm that one of the two rules holds."""
    held = 0
    for seed in range(days):
        evidence = seen(sums=day_of(seed, base=base, rows=rows))
        rules = [r for r in judge(evidence, NO_MARGIN) if r.name in ("slices", "slice_calibration")]
        held += any(rule.verdict == "failed" for rule in rules)
    return held / days


@pytest.mark.parametrize(("base", "rows"), [(-1.0, 3000), (-4.5, 3000)], ids=["many clicks", "rare clicks"])
def test_of_days_without_harm_no_more_are_held_than_the_confidence_allows(base: float, rows: int) -> None:
    allowed = 1 - NO_MARGIN.confidence
    assert false_alarms(base, rows, DAYS) <= allowed + 3 * (allowed * (1 - allowed) / DAYS) ** 0.5


def test_one_harmed_slice_among_many_is_caught_and_named_day_after_day() -> None:
    named = [told(day_of(seed, base=-1.0, rows=24_000, harmed=1.6)).reason for seed in range(10)]
    found = [re.search(r"proves harm on 1 of \d+ slices of .*: f0 = 7 \+", each) for each in named]
    assert sum(each is not None for each in found) >= 9, named
