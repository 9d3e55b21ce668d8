"""A back-test in Markdown, for a pull request or a document."""

from recprune.report import formats
from recprune.report.backtest_page import settings
from recprune.report.backtest_record import arms, checked
from recprune.report.backtest_table import adaptation, budget_text, markdown, table
from recprune.report.backtest_words import sentences
from recprune.report.record import Json


def backtest_markdown(result: Json) -> str:
    """Return command, days, findings, judged claims, table and settings.

    Raises:
        DamagedArtefactError: the result has another format.
    """
    checked(result)
    days = f"{result['days'][0]} to {result['days'][-1]}" if result["days"] else "no days"
    seeds = ", ".join(map(str, result["seeds"]))
    parts = [
        f"## {result['title']}, {result['model']}: {days}",
        f"```\n{result['command']}\n```",
        f"{len(result['days'])} scored days, seeds {seeds}; {result['first']} to {result['tuned_until']} only tuned.",
        *(_findings(result, budget) for budget in result["budgets"]),
        markdown(table(result)),
        *_adaptation(result),
        _settings(result),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _findings(result: Json, budget: float) -> str:
    judged = [c for c in result["comparisons"] if c["budget"] == budget and c["verdict"]]
    told = [*sentences(result, budget), *(_claim(c) for c in judged)]
    return "\n".join([f"At {budget_text(budget)}:", "", *(f"- {each}" for each in told)])


def _claim(compared: Json) -> str:
    p = compared["p_holm"]
    corrected = f" p {formats.number(p)} after Holm." if p is not None else ""
    name = f"{compared['policy']} is not worse than {compared['against']}"
    return f"{name}: **{compared['verdict']}**, {compared['reason']}{corrected}"


def _adaptation(result: Json) -> list[str]:
    head, *rows = adaptation(result)
    return [markdown([head, *rows])] if rows else []


def _settings(result: Json) -> str:
    """Return what tuning chose."""
    rows = [
        f"| {arm.policy} | {budget_text(arm.budget)} | {of['policy']} | {of['learning_rate']:g} "
        f"| {of['embedding_learning_rate']:g} |"
        for arm in arms(result)
        for of in [each["settings"] for each in settings(arm)][:1]
    ]
    head = ["| policy | budget | structure and settings | learning rate | of embeddings |", "|---|---:|---|---:|---:|"]
    return "\n".join([*head, *rows])
