"""Rules on how well the candidate predicts all rows; two looks each, the day's tail and the pool."""

from collections.abc import Iterator
from statistics import NormalDist

import polars as pl

from recprune.days import days_apart
from recprune.gating.evidence import Evidence
from recprune.gating.limits import GateSettings
from recprune.gating.rule import Rule, RuleVerdict
from recprune.metrics.intervals import BLOCK, FEWEST_BLOCKS, Paired, paired
from recprune.metrics.sums import ALL, Ratio, Sums, read_sums


def aged(margin: float, seen: Evidence, settings: GateSettings) -> float:
    """Return a margin widened by the champion's age, which counts against holding."""
    return margin + settings.age_relief * days_apart(seen.champion, seen.day)


def normalized_entropy(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold only if the interval proves the candidate worse than the champion beyond the margin.

    The day's own tail first; if it can tell nothing, the scores of earlier days are pooled with it: each
    day's served line against the champion of that day, on rows that neither had learned. Two looks share
    the error that `confidence` allows (Bonferroni).
    """
    pool, limit = seen.losses(), aged(settings.ne_margin, seen, settings)
    confidence = 1 - (1 - settings.confidence) / 2
    tail = pool.filter((pl.col("day") == seen.day) & (pl.col("rows") == "tail"))
    for rows in (tail, pool):
        found = paired(rows["served"].to_numpy(), rows["champion"].to_numpy(), confidence)
        verdict = _tell(found, limit)
        if verdict != "undecided":
            break
    where = _where(found.rows, rows["day"].n_unique())
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


def _where(rows: float, days: int) -> str:
    return f"{rows:.0f} rows of the tail" if days <= 1 else f"{rows:.0f} rows of {days} days"


def floor(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold if the candidate is proved worse than the floor, and is no better than the champion on the same rows.

    NE is Σ loss / Σ loss of always predicting the rows' base rate. A candidate that is bad, but better than what
    serves, does no harm: it warns. Else a bad champion would serve for ever.
    """
    limit, error = settings.ne_floor, (1 - settings.confidence) / 2
    for rows, days in looks(seen):
        found, where = _against_base(rows), _where(0 if rows is None else rows.of({"rows": 1.0}), days)
        if rows is not None and found is not None and abs(found.value - limit) > found.half(error):
            break
    if rows is None or found is None:
        return Rule(name="floor", verdict="undecided", limit=limit, reason=f"NE: {where} are too few to judge it")
    half, better = found.half(error), rows.of({"ours": 1.0, "theirs": -1.0}) < 0
    interval = (found.value - half, found.value + half)
    told = f"NE {found.value:.4f} ({interval[0]:.4f} to {interval[1]:.4f}; {where}; floor {limit:g})"
    verdict: RuleVerdict = "passed" if interval[1] <= limit else "undecided"
    if interval[0] > limit:
        verdict = "warned" if better else "failed"
        told += f", {'better' if better else 'no better'} than the champion's {_champions(rows):.4f}"
    return Rule(
        name="floor",
        verdict=verdict,
        reason=told,
        value=found.value,
        interval=interval,
        limit=limit,
        distance=limit - found.value,
        detectable=found.detectable(error),
    )


def looks(seen: Evidence) -> Iterator[tuple[Sums | None, int]]:
    """Yield the sums of all rows and how many days they are of: the day's tail, then the pool."""
    table = seen.slice_sums().filter((pl.col("feature") == ALL[0]) & (pl.col("value") == ALL[1]))
    for rows in (table.filter((pl.col("day") == seen.day) & (pl.col("kind") == "tail")), table):
        yield read_sums(rows).get(ALL), rows["day"].n_unique()


def _against_base(rows: Sums | None) -> Ratio | None:
    """Return NE; None if the rows are too few or of one label only."""
    if rows is None or not 0 < rows.of({"label": 1.0}) < rows.of({"rows": 1.0}):
        return None
    return rows.ratio({"ours": 1.0}, {"base": 1.0})


def _champions(rows: Sums) -> float:
    return rows.of({"theirs": 1.0}) / rows.of({"base": 1.0})


def calibration(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold only if mean prediction / base rate is off 1 beyond limit and chance, and more than the champion.

    Promoting a candidate that is off, but less so than what serves now, does no harm.
    """
    rows, limit = seen.number("evaluation", "tail", "rows"), settings.calibration
    rate = seen.number("evaluation", "tail", "base_rate") if rows else 0.0
    if rate == 0:
        return Rule(name="calibration", verdict="undecided", limit=limit, reason="no clicks in the tail")
    ratio, champion = (seen.number("evaluation", "tail", "calibration", n) for n in ("candidate", "champion"))
    z = NormalDist().inv_cdf(0.5 + settings.confidence / 2)
    chance = z * ((1 - rate) / (rate * rows)) ** 0.5
    off = abs(ratio - 1)
    failed = off - chance > limit and off > abs(champion - 1)
    return Rule(
        name="calibration",
        verdict="failed" if failed else "undecided" if chance > limit else "passed",
        value=ratio,
        interval=(ratio - chance, ratio + chance),
        limit=limit,
        distance=limit - off,
        detectable=chance,
        reason=f"mean prediction / base rate is {ratio:.3f} ± {chance:.3f} on {rows:.0f} rows, "
        f"limit 1 ± {limit:g}, the champion's is {champion:.3f}",
    )


def rounding(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold if rounding to 8 bits is proved to cost more NE than the margin, against the same network in fp32."""
    if not seen.flag("evaluation", "rounding", "rounded"):
        return Rule(name="rounding", verdict="passed", reason="nothing is rounded: the model is fp32")
    rows, limit = seen.number("evaluation", "rounding", "rows"), settings.rounding_margin
    if seen.value("evaluation", "rounding", "low") is None and rows < BLOCK * FEWEST_BLOCKS:
        told = f"{rows:.0f} rows are too few to say what rounding costs"
        return Rule(name="rounding", verdict="undecided", limit=limit, reason=told)
    value, low, high, detectable = (
        seen.number("evaluation", "rounding", name) for name in ("difference", "low", "high", "detectable")
    )
    interval = f"95 % interval {100 * low:.2f} to {100 * high:.2f}, limit {100 * limit:g}"
    return Rule(
        name="rounding",
        verdict="failed" if low > limit else "passed",
        value=value,
        interval=(low, high),
        limit=limit,
        distance=limit - value,
        detectable=detectable,
        reason=f"rounding to 8 bits costs {100 * value:.2f} % of NE on {rows:.0f} rows ({interval})",
    )
