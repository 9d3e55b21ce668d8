import pytest

from recprune.errors import DamagedArtefactError
from recprune.report.backtest_markdown import backtest_markdown
from recprune.report.backtest_table import adaptation, markdown, table
from recprune.report.backtest_words import sentences
from tests.report.backtests import backtest, fail

RESULT = backtest()
TEXT = backtest_markdown(RESULT)


def test_command_days_and_table_are_there() -> None:
    assert TEXT.startswith("## complete-journey, dlrm: 2017-03-15 to 2017-04-23\n")
    assert f"```\n{RESULT['command']}\n```" in TEXT
    assert "40 scored days, seeds 1, 2, 3; 2017-01-01 to 2017-03-14 only tuned." in TEXT
    assert markdown(table(RESULT)) in TEXT


def test_every_budget_has_its_findings_and_every_judged_claim_its_verdict() -> None:
    for budget, told in ((0.2, "20 %"), (0.05, "5 %")):
        part = TEXT.split(f"\nAt {told}:\n")[1].split("\nAt ")[0]
        assert all(f"- {each}\n" in part for each in sentences(RESULT, budget))
        judged = [c for c in RESULT["comparisons"] if c["budget"] == budget and c["verdict"]]
        assert judged
        for c in judged:
            assert f"{c['policy']} is not worse than {c['against']}" in part
            assert f"**{c['verdict']}**, {c['reason']}" in part


def test_how_the_policies_adapted_is_told_if_one_did() -> None:
    assert markdown(adaptation(RESULT)) in TEXT
    assert "back within a week" not in backtest_markdown(backtest(policies=("dense", "fixed_mask"), days=10))


def test_what_tuning_chose_is_told_per_policy() -> None:
    result = backtest(policies=("dense", "ads"), days=30)
    for trial in result["trials"]:
        trial["settings"] = {"policy": "ads:swap=4", "learning_rate": 0.004, "embedding_learning_rate": 0.05}
    assert "| ads | 20 % | ads:swap=4 | 0.004 | 0.05 |" in backtest_markdown(result)


def test_a_policy_that_failed_and_an_empty_result_are_told() -> None:
    result = backtest(policies=("dense", "ads"), budgets=(0.2,), seeds=1, days=30)
    fail(result, "ads", 0.2, 1)
    result["comparisons"] = []
    assert "- No policy finished at this budget." in backtest_markdown(result)
    empty = result | {"trials": [], "days": []}
    assert "no days" in backtest_markdown(empty)


def test_another_format_is_refused() -> None:
    with pytest.raises(DamagedArtefactError, match="format 3"):
        backtest_markdown(RESULT | {"format": 3})
