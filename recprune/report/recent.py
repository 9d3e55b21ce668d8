"""The last fortnight: what validation said of each day, and how long its steps took."""

from collections.abc import Sequence
from dataclasses import dataclass

from recprune import times
from recprune.report.record import DayRecord, shorten
from recprune.times import LAST, Usual

STEPS = (
    *("plan", "ingest", "validate", "featurize", "train", "prune"),
    *("export", "evaluate", "gate", "store", "promote"),
)
"""Steps in order; `report` is not timed, as it tells the times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What validation said of a day."""

    day: str
    verdict: str
    """`good` or `quarantined`."""
    read: int
    accepted: int
    aside: int
    """Rejected, duplicate and late rows."""
    met: int
    asked: int
    told: str
    """What was not met, in a few words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """What a step takes."""

    step: str
    last: float | None
    """Seconds on the last timed day; None if it did not run."""
    usual: Usual


@dataclass(frozen=True, kw_only=True, slots=True)
class Durations:
    """What a day takes, step by step."""

    day: str
    """The last timed day."""
    steps: list[StepTime]
    last: float
    usual: Usual
    """Of days that met the gate: the sum of their steps."""
    longest: float
    """Seconds of the slowest step that is shown, for the bars."""


def checked(days: Sequence[DayRecord], last: int = LAST) -> list[Checked]:
    """Return the last validated days, newest first."""
    return [_checked(day) for day in [d for d in days if d.validation is not None][: -last - 1 : -1]]


def _checked(day: DayRecord) -> Checked:
    found = day.validation
    assert found is not None
    counts, asked = found["counts"], found["expectations"]
    failed = [e["name"] for e in asked if not e["passed"]]
    return Checked(
        day=day.day,
        verdict=found["verdict"],
        read=counts["read"],
        accepted=counts["accepted"],
        aside=counts["rejected"] + counts["duplicate"] + counts["late"],
        met=len(asked) - len(failed),
        asked=len(asked),
        told=shorten([*found["problems"], *failed]),
    )


def durations(days: Sequence[DayRecord]) -> Durations | None:
    """Return what the steps take; None where no day was timed here."""
    took = [(day, times.took(day.attempts)) for day in days]
    timed = [(day, seconds) for day, seconds in took if seconds]
    if not timed:
        return None
    each = [{step: seconds[step] for step in STEPS if step in seconds} for _, seconds in timed]
    whole = [{"day": sum(e.values())} for (day, _), e in zip(timed, each, strict=True) if day.gate is not None]
    usual = times.usual(each)
    steps = [StepTime(step=s, last=each[-1].get(s), usual=usual[s]) for s in STEPS if s in usual]
    return Durations(
        day=timed[-1][0].day,
        steps=steps,
        last=sum(each[-1].values()),
        usual=times.usual(whole or [{"day": sum(each[-1].values())}])["day"],
        longest=max(s.usual.slowest for s in steps) or 1.0,
    )
