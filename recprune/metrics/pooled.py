"""The mean of a daily figure over some days, with an interval over days."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

FEWEST_DAYS = 5
"""Fewer days than this give no interval: it would be wider than the days themselves scatter."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """A mean over days."""

    days: int
    mean: float | None
    """None without a day."""
    low: float | None
    high: float | None
    """Ends of the interval; None if there are too few days for one."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def pooled(daily: Sequence[float], confidence: float = 0.95) -> Pooled:
    """Return the mean x̄ of a figure over n days, each counted alike, and Student's interval x̄ ± t₍ₙ₋₁₎ · s / √n.

    It takes days for independent draws. Neighbouring days are alike, so that it is rather too narrow (about a third,
    see `bootstrap`, whose blocks of weeks need 28 days); it is for watching a level, not for proving a claim.

    >>> pooled([0.02, 0.02, 0.02, 0.02, 0.02])
    Pooled(days=5, mean=0.02, low=0.02, high=0.02)
    """
    n = len(daily)
    if n < FEWEST_DAYS:
        return Pooled(n, fmean(daily) if n else None, None, None)
    mean, half = fmean(daily), student(0.5 + confidence / 2, n - 1) * stdev(daily) / n**0.5
    return Pooled(n, mean, mean - half, mean + half)


def student(p: float, freedom: int) -> float:
    """Return the p-quantile of Student's t, within 0.2 % from 4 degrees of freedom on.

    Expansion about the normal quantile z in 1/ν (Abramowitz & Stegun 26.7.5), four terms.

    >>> round(student(0.975, 6), 2)  # tables say 2.447
    2.45
    """
    z, v = NormalDist().inv_cdf(p), float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v**k for k, term in enumerate(terms, start=1))
