"""The rules of the gate: each gives value, interval, limit, distance to it, verdict and one sentence.

Hold only on proven harm or a broken hard bound; a rule says the smallest difference it could have seen.
"""

from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import polars as pl

from recprune.days import days_apart
from recprune.gating.evidence import Evidence
from recprune.gating.limits import WARNING, GateSettings
from recprune.metrics.intervals import Paired, paired

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


def judge(seen: Evidence, settings: GateSettings) -> list[Rule]:
    """Return the outcome of every rule that is not switched off."""
    found, pruned = seen.evaluation, seen.pruned
    rules = [
        _bound("finite", pruned["finite"], "a line was not finite after its pass"),
        _bound("schema", found["inputs_unchanged"], "the bundle's inputs differ from the champion's"),
        _at_most("parity", found["parity"]["fp32"], settings.parity, "the largest difference from torch"),
        _budget(found["delivered"], pruned["asked"]),
        _at_most("size", found["bytes"]["candidate"] / 1e6, settings.max_megabytes, "the model file's size in MB"),
        _latency(seen.measurements, settings),
        _normalized_entropy(seen.day, seen.champion, seen.pool, settings),
        _calibration(found["tail"], settings),
        _churn(pruned["churn"], settings),
    ]
    return [_softened(rule, settings) for rule in rules if rule.name not in settings.skip]


def _softened(rule: Rule, settings: GateSettings) -> Rule:
    return replace(rule, verdict="warned") if rule.verdict == "failed" and rule.name in settings.warn else rule


def verdict(seen: Evidence, settings: GateSettings) -> dict[str, Any]:
    """Return the day's verdict with its rules and one sentence, as `gate.json` holds it.

    Held if a rule failed; undecided rules and those that only warn do not hold.
    """
    rules = judge(seen, settings)
    failed, warned = ([rule.reason for rule in rules if rule.verdict == v] for v in ("failed", "warned"))
    warning = f" {WARNING}{'; '.join(warned)}." if warned else ""
    if failed:
        told = f"{seen.day} held: {'; '.join(failed)}. Champion {seen.champion} keeps serving.{warning}"
    else:
        undecided = [rule.name for rule in rules if rule.verdict == "undecided"]
        unsure = f"; could not be decided: {', '.join(undecided)}" if undecided else ""
        told = f"{seen.day} passed: no rule proves harm against champion {seen.champion}{unsure}.{warning}"
    return {
        "day": seen.day,
        "verdict": "held" if failed else "passed",
        "sentence": told,
        "champion_day": seen.champion,
        "rules": [asdict(rule) for rule in rules],
    }


def _bound(name: str, good: bool, reason: str) -> Rule:
    return Rule(name=name, verdict="passed" if good else "failed", reason="as it should be" if good else reason)


def _at_most(name: str, value: float, limit: float, what: str) -> Rule:
    good = value <= limit
    return Rule(
        name=name,
        verdict="passed" if good else "failed",
        value=value,
        limit=limit,
        distance=limit - value,
        reason=f"{what} is {value:.4g}, {'within' if good else 'above'} the limit {limit:.4g}",
    )


def _budget(delivered: dict[str, float], asked: float) -> Rule:
    """Hold if the candidate is heavier than asked, and than the champion: after a lower budget both may be."""
    what = "the share of the dense network's FLOPs delivered"
    limit = asked if delivered["candidate"] <= asked else max(asked, delivered["champion"])
    return _at_most("budget", delivered["candidate"], limit, what)


def _latency(measured: dict[str, Any], settings: GateSettings) -> Rule:
    """Hold if a call of the largest batch takes more than so many times the champion's, calls interleaved.

    The value stays in `measurements.json`, so that two runs of a day that agree in the verdict agree in their bytes.
    """
    latency, limit = measured["latency"], settings.max_latency_ratio
    known = [b for b in latency.get("candidate", {}) if b in latency.get("champion", {})]
    if not known:
        return Rule(name="latency", verdict="failed", limit=limit, reason="no latency was measured")
    largest = max(known, key=int)
    ratio = latency["candidate"][largest]["p50_us"] / latency["champion"][largest]["p50_us"]
    what = f"the median call of {largest} rows"
    if ratio <= limit:
        return Rule(
            name="latency",
            verdict="passed",
            limit=limit,
            reason=f"{what} takes at most {limit:g} times the champion's; measurements.json has it",
        )
    return Rule(
        name="latency",
        verdict="failed",
        limit=limit,
        value=ratio,
        distance=limit - ratio,
        reason=f"{what} takes {ratio:.2f} times the champion's, above the limit {limit:g}",
    )


def _normalized_entropy(day: str, champion: str, pool: pl.DataFrame, settings: GateSettings) -> Rule:
    """Hold only if the interval proves the candidate worse than the champion beyond the margin.

    The day's own tail first; if it can tell nothing, the scores of earlier days are pooled with it: each
    day's served line against the champion of that day, on rows that neither had learned. Two looks share
    the error that `confidence` allows (Bonferroni).
    """
    limit = settings.ne_margin + settings.age_relief * days_apart(champion, day)
    confidence = 1 - (1 - settings.confidence) / 2
    tail = pool.filter((pl.col("day") == day) & (pl.col("rows") == "tail"))
    for rows in (tail, pool):
        found = paired(rows["served"].to_numpy(), rows["champion"].to_numpy(), confidence)
        verdict = _tell(found, limit)
        if verdict != "undecided":
            break
    seen = rows["day"].n_unique()
    where = f"{found.rows} rows of the tail" if seen <= 1 else f"{found.rows} rows of {seen} days"
    if found.difference is None or found.low is None or found.high is None:
        return Rule(name="ne", verdict="undecided", limit=limit, reason=f"NE: {where} are too few to compare")
    told = f"NE {100 * found.difference:+.2f} % against the champion's ({100 * found.low:+.2f} to "
    told += f"{100 * found.high:+.2f} %; {where}; limit {100 * limit:+.2f} %)"
    return Rule(
        name="ne",
        verdict=verdict,
        reason=told,
        value=found.difference,
        interval=(found.low, found.high),
        limit=limit,
        distance=limit - found.difference,
        detectable=found.detectable,
    )


def _tell(found: Paired, limit: float) -> RuleVerdict:
    """Say whether harm beyond the limit is proved, excluded (or would have shown), or neither."""
    if found.low is None or found.high is None or found.detectable is None:
        return "undecided"
    if found.low > limit:
        return "failed"
    return "passed" if found.high <= limit or found.detectable <= limit else "undecided"


def _calibration(tail: dict[str, Any], settings: GateSettings) -> Rule:
    """Hold only if mean prediction / base rate is off 1 beyond limit and chance, and more than the champion.

    Promoting a candidate that is off, but less so than what serves now, does no harm.
    """
    ratio, rows, rate = tail["calibration"]["candidate"], tail["rows"], tail["base_rate"]
    if ratio is None:
        return Rule(
            name="calibration",
            verdict="undecided",
            limit=settings.calibration,
            reason="no clicks in the tail",
        )
    z = NormalDist().inv_cdf(0.5 + settings.confidence / 2)
    chance = z * ((1 - rate) / (rate * rows)) ** 0.5
    off = abs(ratio - 1)
    champion = tail["calibration"]["champion"]
    failed = off - chance > settings.calibration and off > abs(champion - 1)
    undecided = chance > settings.calibration
    return Rule(
        name="calibration",
        verdict="failed" if failed else "undecided" if undecided else "passed",
        value=ratio,
        interval=(ratio - chance, ratio + chance),
        limit=settings.calibration,
        distance=settings.calibration - off,
        detectable=chance,
        reason=f"mean prediction / base rate is {ratio:.3f} ± {chance:.3f} on {rows} rows, "
        f"limit 1 ± {settings.calibration:g}, the champion's is {champion:.3f}",
    )


def _churn(churn: dict[str, Any], settings: GateSettings) -> Rule:
    """Hold if the served mask changed by more than the limit, unless a challenger took over.

    Churn is 1 − |A ∩ B| / |A ∪ B|, A the groups kept before and B those kept after the day. A day exchanges at most
    `prune.swap` inputs: of K groups 2·swap / (K + swap), and what goes with the last input of a feature.
    """
    value, limit = churn["overall"], settings.max_churn
    kinds = {kind: change for kind, change in churn["kinds"].items() if change["came"] or change["went"]}
    groups = ", ".join(f"{kind} +{change['came']} −{change['went']}" for kind, change in kinds.items())
    told = f"{100 * value:.1f} % of the served mask changed{f' ({groups})' if groups else ''}"
    if churn["takeover"]:
        reason = f"{told}: a challenger took over, and no limit holds today"
        return Rule(name="churn", verdict="passed", value=value, reason=reason)
    good = value <= limit
    return Rule(
        name="churn",
        verdict="passed" if good else "failed",
        value=value,
        limit=limit,
        distance=limit - value,
        reason=f"{told}, {'within' if good else 'above'} the limit {100 * limit:g} %",
    )
