import re
from statistics import fmean, median
from typing import Any

import pytest

from recprune.report.backtest_record import arms, at_budget, best, checked, far_off
from recprune.report.backtest_table import adaptation, headings, markdown, table
from tests.report.backtests import backtest, fail
from tests.report.days import NASTY

RESULT = backtest(days=30)


def trials(result: dict[str, Any], policy: str, budget: float) -> list[dict[str, Any]]:
    return [t for t in result["trials"] if (t["policy"], t["budget"]) == (policy, budget) and not t["failed"]]


def cells(result: dict[str, Any], policy: str, budget: float) -> dict[str, str]:
    found = next(line for line in table(result, budget) if line[0] == policy)
    return dict(zip(headings(result), found, strict=True))


def compared(result: dict[str, Any], policy: str, against: str, budget: float) -> dict[str, Any]:
    return next(
        c for c in result["comparisons"] if (c["policy"], c["against"], c["budget"]) == (policy, against, budget)
    )


def signed(value: float) -> str:
    return f"{100 * value:+.2f} %".replace("-", "−")


@pytest.mark.parametrize("budget", [0.2, 0.05])
@pytest.mark.parametrize("policy", ["small_dense", "ads", "d2s", "fixed_mask", "frozen"])
def test_every_figure_is_that_of_the_file(policy: str, budget: float) -> None:
    own, whole = trials(RESULT, policy, budget), trials(RESULT, "dense", 1.0)
    found = cells(RESULT, policy, budget)
    assert found["budget"] == ("20 %" if budget == 0.2 else "5 %")
    assert found["seeds"] == "3"
    assert found["mean NE"] == f"{fmean(v for t in own for v in t['ne']):.4f}"
    against = compared(RESULT, policy, "dense", budget)
    ends = f"({signed(against['low'])} to {signed(against['high'])})"
    assert found["against dense"] == f"{signed(against['relative'])} {ends}"
    primary = against if policy == "small_dense" else compared(RESULT, policy, "small_dense", budget)
    assert found["seed spread"] == f"{100 * primary['seed_spread']:.2f} %"
    assert found["detectable"] == f"{100 * primary['smallest_effect']:.2f} %"
    assert found["FLOPs"] == f"{100 * fmean(v for t in own for v in t['cost_share']):.1f} %"
    assert found["weights"] == f"{round(fmean(v for t in own for v in t['weights'])):,}"
    for batch in ("1", "128"):
        wide, small = (median(t[key][batch] for t in own) for key in ("latency_us", "latency_int8_us"))
        assert found[f"batch of {batch}"] == f"{wide:.3g} µs (int8 {small:.3g} µs)"
    ratio = fmean(t["training_flops"] for t in own) / fmean(t["training_flops"] for t in whole)
    assert found["training"] == f"{ratio:.2f} ×"


def test_the_dense_model_comes_first_in_each_budget_and_the_rest_by_mean_ne() -> None:
    for budget in (0.2, 0.05):
        names = [line[0] for line in table(RESULT, budget)[1:]]
        means = [float(line[3]) for line in table(RESULT, budget)[2:]]
        assert names[0] == "dense"
        assert means == sorted(means)
        assert len(names) == 6
    assert table(RESULT) == [*table(RESULT, 0.2), *table(RESULT, 0.05)[1:]]
    assert cells(RESULT, "dense", 0.05)["against dense"] == "–"
    assert cells(RESULT, "dense", 0.05)["training"] == "1.00 ×"


def test_one_seed_has_no_spread() -> None:
    found = cells(backtest(seeds=1, days=30), "ads", 0.2)
    assert (found["seeds"], found["seed spread"]) == ("1", "–")
    assert found["detectable"].endswith(" %")


def test_few_days_have_no_interval() -> None:
    found = cells(backtest(days=10), "ads", 0.2)
    assert re.fullmatch(r"[+−]\d+\.\d\d %", found["against dense"])
    assert found["detectable"] == "–"


def test_failed_trials_are_counted_and_left_out() -> None:
    result = backtest(days=30)
    fail(result, "ads", 0.2, 2)
    found = cells(result, "ads", 0.2)
    assert found["seeds"] == "2 of 3"
    assert found["mean NE"] == f"{fmean(v for t in trials(result, 'ads', 0.2) for v in t['ne']):.4f}"
    for seed in (1, 3):
        fail(result, "ads", 0.2, seed)
    found = cells(result, "ads", 0.2)
    assert (found["seeds"], found["mean NE"], found["FLOPs"], found["batch of 1"]) == ("0 of 3", "–", "–", "–")
    assert table(result, 0.2)[-1][0] == "ads"


def test_a_day_that_a_seed_lacks_is_left_out_and_told() -> None:
    result = backtest(days=30)
    own = trials(result, "ads", 0.2)
    own[1]["ne"][3] = own[0]["ne"][8] = None
    mean = fmean(v for t in own for day, v in enumerate(t["ne"]) if day not in (3, 8))
    assert cells(result, "ads", 0.2)["mean NE"] == f"{mean:.4f} (28 of 30 days)"


def test_latency_that_is_missing_is_a_dash() -> None:
    result = backtest(days=30)
    for trial in trials(result, "ads", 0.2):
        trial["latency_us"] = None
    for trial in trials(result, "d2s", 0.2):
        trial["latency_int8_us"] = None
    assert cells(result, "ads", 0.2)["batch of 1"].startswith("– (int8 ")
    assert "int8" not in cells(result, "d2s", 0.2)["batch of 128"]
    for trial in result["trials"]:
        trial["latency_us"] = None
    assert "batch of 1" not in headings(result)


def test_without_dense_there_is_nothing_to_be_relative_to() -> None:
    result = backtest(policies=("small_dense", "ads"), days=30)
    found = cells(result, "ads", 0.2)
    assert (found["against dense"], found["training"]) == ("–", "–")
    assert found["against small_dense"] != "–"


def test_markdown_has_the_same_cells_and_hostile_names_stay_text() -> None:
    lines = markdown(table(RESULT)).splitlines()
    assert [cell.strip().replace("\\_", "_") for cell in lines[2].strip("|").split("|")] == table(RESULT)[1]
    assert lines[1].startswith("| --- | ---: |")
    assert len(lines) == len(table(RESULT)) + 1
    nasty = markdown(table(backtest(policies=(f"a|b`{NASTY}\nc",), days=10))).splitlines()
    assert nasty[2].startswith("| a\\|b\\`&lt;script&gt;alert(1)&lt;/script&gt; c | 20 % |")
    assert len(nasty) == 4


def test_adaptation_counts_inputs_and_carvings_per_seed() -> None:
    result = backtest(policies=("dense", "ads", "fixed_mask"), budgets=(0.2,), days=30, seeds=2)
    first, second = trials(result, "ads", 0.2)
    first["inputs_changed"], second["inputs_changed"] = [3] * 30, [1] * 30
    first["inputs_returned"], second["inputs_returned"] = [0] * 30, [1] * 30
    first["decisions"] = ["2017-03-20: a carving starts, why", "2017-04-01: the challenger took over"]
    second["decisions"] = ["2017-03-21: a carving starts, why", "2017-04-02: the challenger was dropped"]
    head, *rows = adaptation(result)
    assert head == ["policy", "budget", "inputs in a day", "back within a week", "carvings", "took over"]
    assert rows == [["ads", "20 %", "2.00", "25.0 %", "1.0", "0.5"]]


def test_the_best_is_within_the_budget_and_finished() -> None:
    found = best(RESULT, 0.2)
    assert found is not None
    assert found.policy == "ads"
    assert best(backtest(policies=("dense",), days=10), 0.2) is None


def test_what_lies_far_off_is_known() -> None:
    assert [(arm.policy, arm.budget) for arm in far_off(backtest(days=290))] == [("frozen", 0.2), ("frozen", 0.05)]
    assert far_off(backtest(policies=("dense", "small_dense", "frozen"), days=290)) == []


def test_arms_are_in_the_order_of_the_file() -> None:
    assert [(arm.policy, arm.budget) for arm in arms(RESULT)][:3] == [
        ("dense", 1.0),
        ("small_dense", 0.2),
        ("small_dense", 0.05),
    ]
    assert {arm.policy for arm in at_budget(RESULT, 0.5)} == {"dense"}


def test_another_format_is_refused() -> None:
    with pytest.raises(Exception, match=r"the back-test's result has format 3; this recprune reads format 2\. Run"):
        checked({"format": 3})
