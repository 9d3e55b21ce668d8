"""Rules on the candidate's harm to single slices: every slice is asked, all of them share one error (Holm)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl

from recprune.gating.accuracy import aged
from recprune.gating.evidence import Evidence
from recprune.gating.limits import GateSettings
from recprune.gating.rule import Rule
from recprune.metrics.holm import holm
from recprune.metrics.intervals import FEWEST_BLOCKS
from recprune.metrics.slices import FEWEST_ROWS, WHOLE
from recprune.metrics.sums import ALL, Ratio, Sums, read_sums

NAMED = 3
"""Slices that a sentence names, the worst ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """What a rule asks of every slice."""

    name: str
    what: str
    limit: float
    limit_told: str
    value: Callable[[Sums], Ratio | None]
    proves: Callable[[Sums, float], bool]
    """Whether harm is proved where this slice alone may be blamed wrongly with a probability."""
    excess: Callable[[float], float]
    """How far a value, or an end of its interval, lies beyond the limit."""
    write: Callable[[float], str]
    """A value in words."""
    spread: Callable[[float], str]
    """A difference in words."""
    also: Callable[[Sums], str]
    """What else is told of a slice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """What the rows of one slice say."""

    name: str
    rows: Sums
    found: Ratio
    low: float
    high: float
    """Ends of the interval, at the error that its slice was asked at."""
    detectable: float
    beyond: float
    """How far the value lies beyond the limit, in its standard errors; negative within."""
    proved: bool
    decided: bool
    """Harm is proved, excluded, or would have shown."""


def slice_entropy(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold if the candidate's NE is proved worse than the champion's on a slice, by more than the margin."""
    limit = aged(settings.slice_margin, seen, settings)

    def value(rows: Sums) -> Ratio | None:
        return rows.ratio({"ours": 1.0, "theirs": -1.0}, {"theirs": 1.0})

    def proves(rows: Sums, error: float) -> bool:
        found = value(rows)
        return found is not None and found.value - found.half(error) > limit

    asked = _Question(
        name="slices",
        what="NE against the champion's",
        limit=limit,
        limit_told=f"{100 * limit:+.2f} %",
        value=value,
        proves=proves,
        excess=lambda end: end - limit,
        write=lambda end: f"{100 * end:+.2f} %",
        spread=lambda difference: f"{100 * difference:.2f} %",
        also=lambda _: "",
    )
    return _judge(asked, seen, settings)


def slice_calibration(seen: Evidence, settings: GateSettings) -> Rule:
    """Hold if on a slice the candidate is proved off beyond the limit, and more so than the champion by the margin.

    Off is |Σ prediction / clicks − 1|. Three things must be proved, each at the slice's full error, for which no
    correction is due: with clicks y, predictions p of the candidate and p' of the champion, limit L and margin M
    (too high; too low is the mirror image) Σ (p − (1 + L)·y) > 0, Σ (p − p' − M·y) > 0, and
    Σ (p + p' − (2 + M)·y) > 0. A slice without a click has no such ratio; its NE is judged.
    """
    limit, margin = settings.calibration, settings.slice_margin
    harms = [
        [{"p_ours": way, "label": -way - limit}, {"p_ours": way, "p_theirs": -way, "label": -margin},
         {"p_ours": way, "p_theirs": way, "label": -2 * way - margin}]
        for way in (1.0, -1.0)
    ]  # fmt: skip

    def proves(rows: Sums, error: float) -> bool:
        return any(all(_positive(rows, weights, error) for weights in harm) for harm in harms)

    asked = _Question(
        name="slice_calibration",
        what="mean prediction / base rate",
        limit=limit,
        limit_told=f"1 ± {limit:g}",
        value=lambda rows: rows.ratio({"p_ours": 1.0}, {"label": 1.0}),
        proves=proves,
        excess=lambda end: abs(end - 1) - limit,
        write=lambda end: f"{end:.3f}",
        spread=lambda difference: f"{difference:.3f}",
        also=lambda rows: f"the champion's {rows.of({'p_theirs': 1.0}) / rows.of({'label': 1.0}):.3f}; ",
    )
    return _judge(asked, seen, settings)


def _positive(rows: Sums, weights: dict[str, float], error: float) -> bool:
    found = rows.ratio(weights, {"rows": 1.0})
    return found is not None and found.value - found.half(error) > 0


def _judge(asked: _Question, seen: Evidence, settings: GateSettings) -> Rule:
    """Ask on the day's tail; if a slice cannot tell there, ask all again with the rows of earlier days.

    The two rules on slices and their two looks share the error that `confidence` allows.
    """
    table, error = seen.slice_sums(), (1 - settings.confidence) / 4
    for rows in (table.filter((pl.col("day") == seen.day) & (pl.col("kind") == "tail")), table):
        found = _ask(read_sums(rows), asked, error)
        if found and (any(each.proved for each in found) or all(each.decided for each in found)):
            break
    days = rows["day"].n_unique()
    return _told(asked, found, "the tail" if days <= 1 else f"{days} days")


def _ask(sums: dict[tuple[str, str], Sums], asked: _Question, error: float) -> list[_Answer]:
    """Ask every slice of enough rows; return what they say, proved harm first, then by how near they come to it."""
    whole = sums[ALL].of({"rows": 1.0}) if sums else 0.0
    found = [
        (f"{feature} = {value}", rows, ratio)
        for (feature, value), rows in sums.items()
        if (feature, value) != ALL
        and rows.blocks >= FEWEST_BLOCKS
        and FEWEST_ROWS <= rows.of({"rows": 1.0}) <= WHOLE * whole
        and (ratio := asked.value(rows)) is not None
    ]
    level = holm([partial(asked.proves, rows) for _, rows, _ in found], error)
    answers = [_answer(name, rows, ratio, asked, level) for name, rows, ratio in found]
    return sorted(answers, key=lambda each: (not each.proved, -each.beyond))


def _answer(name: str, rows: Sums, found: Ratio, asked: _Question, level: float) -> _Answer:
    half, detectable, beyond = found.half(level), found.detectable(level), asked.excess(found.value)
    low, high, proved = found.value - half, found.value + half, asked.proves(rows, level)
    excluded = max(asked.excess(low), asked.excess(high)) <= 0
    return _Answer(
        name=name,
        rows=rows,
        found=found,
        low=low,
        high=high,
        detectable=detectable,
        beyond=beyond / max(found.error, 1e-12),  # the same model twice scatters by nothing
        proved=proved,
        decided=proved or excluded or detectable <= asked.limit,
    )


def _told(asked: _Question, found: list[_Answer], where: str) -> Rule:
    if not found:
        reason = f"{asked.what}: no slice of {where} has the {FEWEST_ROWS} rows that it takes"
        return Rule(name=asked.name, verdict="undecided", limit=asked.limit, reason=reason)
    worst, proved = found[0], [each for each in found if each.proved]
    finest, coarsest = (asked.spread(of(each.detectable for each in found)) for of in (min, max))
    scope = f"{len(found)} slices of {where} (limit {asked.limit_told})"
    unsure = sum(not each.decided for each in found)
    if proved:
        more = f" and {len(proved) - NAMED} more" if len(proved) > NAMED else ""
        named = "; ".join(_named(each, asked) for each in proved[:NAMED])
        reason = f"{asked.what} proves harm on {len(proved)} of {scope}: {named}{more}"
    else:
        reason = f"{asked.what} proves no harm on any of {scope}, nearest to it is {_named(worst, asked)}"
        reason += f"; {unsure} could not tell" if unsure else ""
    return Rule(
        name=asked.name,
        verdict="failed" if proved else "undecided" if unsure else "passed",
        reason=f"{reason}; {finest} to {coarsest} would have shown, depending on the slice",
        value=worst.found.value,
        interval=(worst.low, worst.high),
        limit=asked.limit,
        distance=-asked.excess(worst.found.value),
        detectable=worst.detectable,
    )


def _named(each: _Answer, asked: _Question) -> str:
    numbers = f"{asked.write(each.found.value)} ({asked.write(each.low)} to {asked.write(each.high)}"
    return f"{each.name} {numbers}; {asked.also(each.rows)}{each.rows.of({'rows': 1.0}):.0f} rows)"
