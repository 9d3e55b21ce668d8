"""What a back-test says in sentences."""

from recprune.report import formats
from recprune.report.backtest_record import Arm, best, comparison
from recprune.report.backtest_table import budget_text, interval, share_word
from recprune.report.record import Json
from recprune.report.words import TERMS

GLOSSARY = {
    "NE": TERMS["NE"],
    "Scored first, learned later": TERMS["Scored first, learned later"],
    "dense": "The full network: learns every day, tuned like the rest. What pruning costs is measured against it.",
    "small_dense": "The best small dense network of the same cost: the baseline that pruning must beat.",
    "Prune tax": "How much higher a policy’s NE is than the dense model’s, on the same rows.",
    "Interval": "95 %: where the true difference plausibly lies. Days are drawn in blocks of a week in the mean, the "
    "same for both policies, and seeds with them.",
    "Seed spread": "Standard deviation over seeds of each seed’s own difference.",
    "Detectable": "The smallest difference that such days and seeds would show in four cases out of five.",
    "Claim": "A comparison that is judged by a margin. Shown: the whole interval agrees. Refuted: none of it does. "
    "Not decidable: the margin lies inside it.",
    "Holm": "The p-value corrected for the number of primary comparisons.",
}


def headline(result: Json) -> str:
    """Say which policy has the lowest mean NE at each budget.

    >>> headline({"budgets": [0.2], "cost": "flops", "trials": []})
    'No policy finished at 20 % of the dense network’s FLOPs.'
    """
    winners: dict[str, list[str]] = {}
    for budget in result["budgets"]:
        found = best(result, budget)
        winners.setdefault(found.policy if found else "", []).append(budget_text(budget))
    parts = [
        f"{policy} has the lowest NE at {' and '.join(at)}" if policy else f"No policy finished at {' and '.join(at)}"
        for policy, at in winners.items()
    ]
    share = f" of the dense network’s {share_word(result)}"
    return f"{'; '.join([parts[0] + share, *parts[1:]])}." if parts else "No budget was tried."


def sentences(result: Json, budget: float) -> list[str]:
    """Say who wins at a budget, by how much, and whether pruning had anything to gain there."""
    found = best(result, budget)
    if found is None:
        return ["No policy finished at this budget."]
    against = [
        f"{interval(compared)} against {other}{_clear(compared)}"
        for other in ("dense", "small_dense")
        if (compared := comparison(result, found.policy, other, budget)) and compared["relative"] is not None
    ]
    ne = formats.number(found.mean("ne"))
    first = f"{found.policy} has the lowest mean NE, {ne}{': ' if against else ''}{'; '.join(against)}."
    told = _headroom(comparison(result, "small_dense", "dense", budget))
    return [first, *told, *(_recovered(row) for row in result["recovered"] if row["budget"] == budget)]


def decisions(arm: Arm) -> list[tuple[str, str, str]]:
    """Return what a policy decided, (day, what, seeds), oldest first; the same of several seeds once."""
    seeds: dict[str, list[str]] = {}
    for trial in arm.trials:
        for line in trial["decisions"]:
            seeds.setdefault(line, []).append(str(trial["seed"]))
    told = []
    for line, of in sorted(seeds.items()):
        day, _, what = line.partition(": ")
        told.append((day, what, "all" if len(of) == len(arm.trials) else ", ".join(of)))
    return told


def _clear(compared: Json) -> str:
    low, high = compared["low"], compared["high"]
    if low is None or high is None:
        return ""
    return ", clear of zero" if low > 0 or high < 0 else ", not clear of zero"


def _recovered(row: Json) -> str:
    share = formats.percent(row["share"])
    return (
        f"{row['policy']} recovers {share} of it; at least half: {row['verdict']} (to the middle {row['reason'][:-1]})."
    )


def _headroom(compared: Json | None) -> list[str]:
    """Say what the small network leaves to gain; nothing where that is unknown."""
    if compared is None or compared["relative"] is None or compared["low"] is None:
        return []
    if compared["low"] > 0:
        return [f"Headroom: small_dense lies {interval(compared)} above dense."]
    told = f"No headroom was shown: small_dense against dense is {interval(compared)}"
    return [f"{told}. Where that is not clear of zero, pruning from the dense network has nothing to gain."]
