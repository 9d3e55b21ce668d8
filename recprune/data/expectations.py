"""What a good day looks like: bounds from the settings and from the last good profiles.

Each expectation bounds one measure of the profile. Bounds widen with the compared days' own spread and
with the sampling noise of a small day, so that the verdict does not depend on volume.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from recprune.data.profile import Profile, drift
from recprune.days import days_apart
from recprune.settings import ValidateSettings

WIDEST = 4
"""Times that bounds are widened at most while days are quarantined."""
ENOUGH = 3
"""Fewer good days than this are not compared with: only the settings' own bounds hold."""


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


def expectations(today: Profile, earlier: Sequence[Profile], rules: ValidateSettings) -> list[Expectation]:
    """Return every expectation on a day, with what was observed."""
    found = list(_from_settings(today, rules))
    if len(earlier) >= ENOUGH:
        found += _from_days(today, earlier, _widened(rules, days_apart(earlier[-1]["day"], today["day"]) - 1))
    return found


def _widened(rules: ValidateSettings, gap: int) -> ValidateSettings:
    """Widen the margins with each day since the last good one, up to `WIDEST` times.

    A lasting change, like a product that takes a quarter of the traffic, would else be quarantined for ever,
    since the days compared with stay the same; a fault of one day is caught as before.
    """
    times = min(WIDEST, 1 + max(0, gap))
    return replace(
        rules,
        share_margin=min(1.0, times * rules.share_margin),
        tolerance=times * rules.tolerance,
        mean_margin=times * rules.mean_margin,
        max_psi=times * rules.max_psi,
    )


def _from_settings(today: Profile, rules: ValidateSettings) -> Iterator[Expectation]:
    yield Expectation("rows", today["rows"], rules.min_rows, None)
    yield Expectation("share of rejected rows", today["shares"]["rejected"], None, rules.max_rejected)
    yield Expectation("share of duplicate rows", today["shares"]["duplicate"], None, rules.max_duplicates)
    yield Expectation("share of late rows", today["shares"]["late"], None, rules.max_late)
    low, high = rules.base_rate
    if today["rows"]:
        yield Expectation("base rate", today["base_rate"], low, high)


def _from_days(today: Profile, earlier: Sequence[Profile], rules: ValidateSettings) -> Iterator[Expectation]:
    days = tuple(p["day"] for p in earlier)
    rows = today["rows"]
    usual = median(p["rows"] for p in earlier)
    yield Expectation("rows vs the usual", rows, usual / rules.rows_factor, usual * rules.rows_factor, days)
    rates = [p["base_rate"] for p in earlier]
    yield _share("base rate vs the usual", today["base_rate"], rates, rows, rules, days)
    for name, mine in today["numeric"].items():
        theirs = [p["numeric"][name] for p in earlier]
        yield _share(f"{name}: share missing", mine["missing"], [t["missing"] for t in theirs], rows, rules, days)
        yield from _mean(name, mine, theirs, rules, days)
        yield _drift(name, "numeric", today, earlier, rules, days)
    for name, mine in today["categorical"].items():
        theirs = [p["categorical"][name] for p in earlier]
        yield _share(f"{name}: share missing", mine["missing"], [t["missing"] for t in theirs], rows, rules, days)
        known = [t["new"] for t in theirs if t["new"] is not None]
        if mine["new"] is not None and len(known) >= ENOUGH:
            yield _share(f"{name}: share of new ids", mine["new"], known, rows, rules, days)
        ids = median(t["unique"] for t in theirs)
        low, high = ids / rules.rows_factor, ids * rules.rows_factor
        yield Expectation(f"{name}: distinct ids", mine["unique"], low, high, days)
        yield _drift(name, "categorical", today, earlier, rules, days)


def _share(
    name: str,
    observed: float | None,
    before: list[float],
    rows: int,
    rules: ValidateSettings,
    days: tuple[str, ...],
) -> Expectation:
    """Bound a share: median ± the largest of margin, robust spread, and sampling noise."""
    middle = median(before)
    noise = 4 * math.sqrt(max(middle * (1 - middle), 1 / max(rows, 1)) / max(rows, 1))
    reach = max(rules.share_margin, rules.tolerance * _spread(before)) + noise
    return Expectation(name, observed, max(0.0, middle - reach), min(1.0, middle + reach), days)


def _mean(
    name: str, mine: Profile, theirs: list[Profile], rules: ValidateSettings, days: tuple[str, ...]
) -> Iterator[Expectation]:
    means = [t["mean"] for t in theirs if t["mean"] is not None]
    stds = [t["std"] for t in theirs if t["std"] is not None]
    if mine["mean"] is None or len(means) < ENOUGH or len(stds) < ENOUGH:
        return  # all values missing: the share missing tells
    middle = median(means)
    reach = max(rules.mean_margin * median(stds), rules.tolerance * _spread(means), 1e-6)
    yield Expectation(f"{name}: mean", mine["mean"], middle - reach, middle + reach, days)


def _drift(
    name: str,
    kind: str,
    today: Profile,
    earlier: Sequence[Profile],
    rules: ValidateSettings,
    days: tuple[str, ...],
) -> Expectation:
    """Bound the stability index: `max_psi`, or twice what the compared days show against each other.

    A feature like the weekday differs wholly from day to day and is no sign of harm.
    """
    usual = [drift(name, kind, p, [*earlier[:i], *earlier[i + 1 :]]) for i, p in enumerate(earlier)]
    limit = max(rules.max_psi, 2 * max(usual))
    return Expectation(f"{name}: PSI", drift(name, kind, today, earlier), None, limit, days)


def _spread(values: Sequence[float]) -> float:
    """Return the robust standard deviation: 1.4826 × the median distance from the median."""
    middle = median(values)
    return 1.4826 * median(abs(v - middle) for v in values)
