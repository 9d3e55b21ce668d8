"""What a rule of the gate says."""

from dataclasses import dataclass
from typing import Literal

RuleVerdict = Literal["passed", "failed", "undecided", "warned"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule's outcome."""

    name: str
    verdict: RuleVerdict
    """`undecided`: the rows could not have shown the harm; counts as passed, as `warned` does: failed, but the rule is
    one of those that only warn."""
    reason: str
    value: float | None = None
    interval: tuple[float | None, float | None] | None = None
    limit: float | None = None
    distance: float | None = None
    """limit − value: how much room was left."""
    detectable: float | None = None
    """Smallest difference that the rows could have shown."""


def at_most(name: str, value: float, limit: float, what: str) -> Rule:
    """Return a rule that fails above its limit."""
    return within(name, value, limit, f"{what} is {value:.4g}", f"{limit:.4g}")


def within(name: str, value: float, limit: float, told: str, bound: str, above: RuleVerdict = "failed") -> Rule:
    """Return a rule with a limit of its own words: `told` is the value's, `bound` the limit's."""
    good = value <= limit
    return Rule(
        name=name,
        verdict="passed" if good else above,
        value=value,
        limit=limit,
        distance=limit - value,
        reason=f"{told}, {'within' if good else 'above'} the limit {bound}",
    )
