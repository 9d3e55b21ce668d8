"""What a good day looks like: bounds from the settings and from the last good profiles.

Each expectation bounds one measure of the profile. Bounds widen with the compared days' own spread and
with the sampling noise of a small day, so that the verdict does not depend on volume.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from recprune.data.agreement import agreement, usual_ids
from recprune.data.profile import Profile, drift, having
from recprune.days import days_apart
from recprune.settings import ValidateSettings

WIDEST = 4
"""Times that the bounds of base rate and missing values are widened at most while days are quarantined."""
ENOUGH = 3
"""Fewer good days than this are not compared with: only the settings' own bounds hold."""

WEEK = 7
USUAL_PSI = 3
"""Times that a day may differ as much as the compared days differ from each other: a blizzard shifts every hour."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A measure of the profile and the interval that it must lie in."""

    name: str
    """Column of the profile as a table, for example `base_rate` or `price: share missing`."""
    observed: float | None
    low: float | None
    high: float | None
    compared_with: tuple[str, ...] = ()
    """The days that the bounds come from; none if they come from the settings."""

    def sentence(self) -> str:
        """Say what was observed, what was expected, and where the bounds come from."""
        seen = "nothing" if self.observed is None else _show(self.observed)
        low = "" if self.low is None else f"at least {_show(self.low)}"
        high = "" if self.high is None else f"at most {_show(self.high)}"
        whence = (
            f"from {len(self.compared_with)} good days, {self.compared_with[0]} to {self.compared_with[-1]}"
            if self.compared_with
            else "from params.yaml"
        )
        return f"{self.name} is {seen}, expected {' and '.join(filter(None, (low, high)))} ({whence})"


def _show(value: float) -> str:
    """Show four digits, or a large number's whole part: a million rows are no 1e+06."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class _Reference:
    """What a day is compared with.

    Margins are multiplied by the days since the last good one: a lasting change, like a season or a product
    that takes a quarter of the traffic, would else be quarantined for ever, since the days compared with stay
    the same; a fault of one day is caught as before. Shares that can prove a fault by themselves (base rate,
    missing values) widen `WIDEST` times at most.
    """

    earlier: Sequence[Profile]
    days: tuple[str, ...]
    rules: ValidateSettings
    times: int

    def share(self, name: str, observed: float | None, before: list[float], rows: int) -> Expectation:
        """Bound a share: median ± the larger of margin and robust spread, and sampling noise."""
        times, middle = min(self.times, WIDEST), median(before)
        reach = times * max(self.rules.share_margin, self.rules.tolerance * _spread(before)) + _noise(middle, rows)
        return Expectation(name, observed, max(0.0, middle - reach), min(1.0, middle + reach), self.days)

    def new_ids(self, name: str, mine: Profile, theirs: list[Profile], rows: int) -> Iterator[Expectation]:
        """Bound the share of new ids from above: few are no harm."""
        before = [t["new"] for t in theirs if t["new"] is not None]
        if mine["new"] is None or len(before) < ENOUGH:
            return
        middle = median(before)
        reach = self.times * max(self.rules.new_ids_margin, self.rules.tolerance * _spread(before))
        high = middle + reach + _noise(middle, rows)
        yield Expectation(f"{name}: share of new ids", mine["new"], None, min(1.0, high), self.days)

    def usual_ids(self, name: str, today: Profile) -> Iterator[Expectation]:
        """Bound the share of rows with ids that were frequent before, from below: a share of the least day's may go.

        Popular ids die too: only most of them at once are a sign of harm. In a first week every weekday is new.
        """
        if len(self.earlier) < WEEK:
            return
        least = min(usual_ids(name, one, rest) for one, rest in self.others())
        kept = least * max(0.0, 1 - self.times * self.rules.usual_ids_margin)
        low = max(0.0, kept - _noise(min(kept, 1.0), today["rows"]))
        yield Expectation(f"{name}: share of usual ids", usual_ids(name, today, self.earlier), low, None, self.days)

    def top_id(self, name: str, today: Profile) -> Expectation:
        """Bound the share of the most frequent id from above: a bot is one visitor."""
        shares = [max(p["categorical"][name]["top"].values(), default=0.0) for p in (today, *self.earlier)]
        asked = self.share(f"{name}: share of the top id", shares[0], shares[1:], today["rows"])
        return replace(asked, low=None)

    def agreement(self, today: Profile) -> Iterator[Expectation]:
        """Bound how far labels follow from features as before, from below: flipped labels say the opposite."""
        seen = agreement(today, self.earlier)
        before = [found.slope for one, rest in self.others() if (found := agreement(one, rest))]
        if seen is None or len(before) < ENOUGH or min(before) <= 0:
            return  # labels follow from other things every day: nothing can be said
        reach = min(self.times, 2) * self.rules.agreement_margin  # however long it lasts, the opposite is no drift
        low = min(median(before) - reach, min(before) - reach / 2) - 4 * seen.error
        yield Expectation("agreement of labels with features", seen.slope, low, None, self.days)

    def others(self) -> list[tuple[Profile, list[Profile]]]:
        """Return each day compared with, and the rest of them."""
        return [(p, [*self.earlier[:i], *self.earlier[i + 1 :]]) for i, p in enumerate(self.earlier)]

    def count(self, name: str, observed: float, before: list[float]) -> Expectation:
        """Bound a count by a factor around the median."""
        middle, factor = median(before), self.times * self.rules.rows_factor
        return Expectation(name, observed, middle / factor, middle * factor, self.days)

    def mean(self, name: str, mine: Profile, theirs: list[Profile]) -> Iterator[Expectation]:
        """Bound a number's mean: median ± the larger of its standard deviations and the means' own spread."""
        means = [t["mean"] for t in theirs if t["mean"] is not None]
        stds = [t["std"] for t in theirs if t["std"] is not None]
        if mine["mean"] is None or len(means) < ENOUGH or len(stds) < ENOUGH:
            return  # all values missing: the share missing tells
        middle = median(means)
        reach = self.times * max(self.rules.mean_margin * max(stds), self.rules.tolerance * _spread(means))
        if reach > 0:  # else it never varied, and its first other value says nothing; the PSI does
            yield Expectation(f"{name}: mean", mine["mean"], middle - reach, middle + reach, self.days)

    def drift(self, name: str, kind: str, today: Profile) -> Expectation:
        """Bound the stability index: `max_psi`, or `USUAL_PSI` times what the compared days show against each other.

        A feature like the weekday differs wholly from day to day and is no sign of harm.
        """
        usual = max(drift(name, kind, one, rest, turnover=True) for one, rest in self.others())
        limit = self.times * max(self.rules.max_psi, USUAL_PSI * usual)
        return Expectation(f"{name}: PSI", drift(name, kind, today, self.earlier), None, limit, self.days)


def expectations(today: Profile, earlier: Sequence[Profile], rules: ValidateSettings) -> list[Expectation]:
    """Return every expectation on a day, with what was observed."""
    found = list(_from_settings(today, rules))
    if len(earlier) >= ENOUGH:
        gap = days_apart(earlier[-1]["day"], today["day"]) - 1
        found += _from_days(today, _Reference(earlier, tuple(p["day"] for p in earlier), rules, 1 + max(0, gap)))
    return found


def _from_settings(today: Profile, rules: ValidateSettings) -> Iterator[Expectation]:
    yield Expectation("rows", today["rows"], rules.min_rows, None)
    yield Expectation("share of rejected rows", today["shares"]["rejected"], None, rules.max_rejected)
    yield Expectation("share of duplicate rows", today["shares"]["duplicate"], None, rules.max_duplicates)
    yield Expectation("share of late rows", today["shares"]["late"], None, rules.max_late)
    low, high = rules.base_rate
    if today["rows"]:
        yield Expectation("base rate", today["base_rate"], low, high)


def _from_days(today: Profile, usual: _Reference) -> Iterator[Expectation]:
    rows = today["rows"]
    yield usual.count("rows vs the usual", rows, [p["rows"] for p in usual.earlier])
    rates = [p["base_rate"] for p in usual.earlier]
    yield usual.share("base rate vs the usual", today["base_rate"], rates, rows)
    yield from usual.agreement(today)
    for name, mine, since, theirs in _compared(today, "numeric", usual):
        yield since.share(f"{name}: share missing", mine["missing"], [t["missing"] for t in theirs], rows)
        yield from since.mean(name, mine, theirs)
        yield since.drift(name, "numeric", today)
    for name, mine, since, theirs in _compared(today, "categorical", usual):
        yield since.share(f"{name}: share missing", mine["missing"], [t["missing"] for t in theirs], rows)
        yield from since.new_ids(name, mine, theirs, rows)
        yield since.count(f"{name}: distinct ids", mine["unique"], [t["unique"] for t in theirs])
        yield from since.usual_ids(name, today)
        yield since.top_id(name, today)
        yield since.drift(name, "categorical", today)


def _compared(today: Profile, kind: str, usual: _Reference) -> Iterator[tuple[str, Profile, _Reference, list[Profile]]]:
    """Yield each feature with the days that had it; one that is too new is not compared with anything yet."""
    for name, mine in today[kind].items():
        earlier = having(kind, name, usual.earlier)
        if len(earlier) >= ENOUGH:
            since = replace(usual, earlier=earlier, days=tuple(p["day"] for p in earlier))
            yield name, mine, since, [p[kind][name] for p in earlier]


def _noise(share: float, rows: int) -> float:
    """Return four standard errors of a share measured on this many rows."""
    n = max(rows, 1)
    return 4 * math.sqrt(max(share * (1 - share), 1 / n) / n)


def _spread(values: Sequence[float]) -> float:
    """Return the robust standard deviation: 1.4826 × the median distance from the median."""
    middle = median(values)
    return 1.4826 * median(abs(v - middle) for v in values)
