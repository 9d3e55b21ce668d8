"""The rules of the gate: each gives value, interval, limit, distance to it, verdict and one sentence.

Hold only on proven harm, a broken hard bound or a missing number; a rule says the smallest difference that it could
have seen.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from recprune.gating import accuracy, bounds, slices
from recprune.gating.evidence import Evidence, MissingNumberError
from recprune.gating.limits import GATE_RULES, WARNING, GateSettings
from recprune.gating.rule import Rule

_RULES: dict[str, Callable[[Evidence, GateSettings], Rule]] = {
    "finite": bounds.finite,
    "schema": bounds.schema,
    "parity": bounds.parity,
    "rounding": accuracy.rounding,
    "budget": bounds.budget,
    "sparse": bounds.sparse,
    "size": bounds.size,
    "latency": bounds.latency,
    "ne": accuracy.normalized_entropy,
    "floor": accuracy.floor,
    "slices": slices.slice_entropy,
    "calibration": accuracy.calibration,
    "slice_calibration": slices.slice_calibration,
    "churn": bounds.churn,
    "rejected": bounds.rejected,
    "age": bounds.age,
}


def judge(seen: Evidence, settings: GateSettings) -> list[Rule]:
    """Return the outcome of every rule that is not switched off."""
    rules = [_outcome(name, seen, settings) for name in GATE_RULES if name not in settings.skip]
    return [_softened(rule, settings) for rule in rules]


def _outcome(name: str, seen: Evidence, settings: GateSettings) -> Rule:
    try:
        return _RULES[name](seen, settings)
    except MissingNumberError as missing:
        reason = f"the rule {name} cannot be judged: {missing}"
        return Rule(name=name, verdict="failed", reason=reason)


def _softened(rule: Rule, settings: GateSettings) -> Rule:
    return replace(rule, verdict="warned") if rule.verdict == "failed" and rule.name in settings.warn else rule


def verdict(seen: Evidence, settings: GateSettings) -> dict[str, Any]:
    """Return the day's verdict with its rules and one sentence, as `gate.json` holds it.

    Held if a rule failed; undecided rules and those that only warn do not hold.
    """
    rules, champion = judge(seen, settings), _champion(seen)
    failed, warned = ([rule.reason for rule in rules if rule.verdict == v] for v in ("failed", "warned"))
    warning = f" {WARNING}{'; '.join(warned)}." if warned else ""
    if failed:
        keeps = f"Champion {champion}" if champion else "The champion"
        told = f"{seen.day} held: {'; '.join(failed)}. {keeps} keeps serving.{warning}"
    else:
        undecided = [rule.name for rule in rules if rule.verdict == "undecided"]
        unsure = f"; could not be decided: {', '.join(undecided)}" if undecided else ""
        told = f"{seen.day} passed: no rule proves harm against champion {champion}{unsure}.{warning}"
    return {
        "day": seen.day,
        "verdict": "held" if failed else "passed",
        "sentence": told,
        "champion_day": champion,
        "rules": [asdict(rule) for rule in rules],
    }


def _champion(seen: Evidence) -> str | None:
    try:
        return seen.champion
    except MissingNumberError:  # the rules that need it say so
        return None
