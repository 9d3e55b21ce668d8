"""What a profile says of ids and labels together: measures that no share of one column shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recprune.data.profile import TOP, Profile, having, pooled


def usual_ids(feature: str, today: Profile, earlier: Sequence[Profile]) -> float:
    """Return the share of today's rows whose id was among the most frequent ones before and is today.

    A renumbered id space has the same number of ids, all of them known, and another distribution.
    """
    before = pooled([p["categorical"][feature]["top"] for p in earlier], earlier)
    kept = sorted(before, key=lambda i: (-before[i], i))[:TOP]
    return math.fsum(today["categorical"][feature]["top"].get(ident, 0.0) for ident in kept)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far labels follow from features as they did before."""

    slope: float
    """1: as before; 0: not at all; −1: the opposite."""
    error: float
    """What chance gives it, one standard error."""


def agreement(today: Profile, earlier: Sequence[Profile]) -> Agreement | None:
    """Return how far the day's labels follow from its features as they did before; None if nothing told clicks apart.

    slope = Σ s·d·e / Σ s·e² over the frequent ids and the bins of all features: s the share of today's rows, d today's
    click rate less that of the whole day, e the same of the days before.
    """
    rate = _mean_rate(earlier)
    if rate is None or today["base_rate"] is None:
        return None
    both = square = 0.0
    for kind, name in ((k, n) for k in ("numeric", "categorical") for n in today[k]):
        mine, before = _cells(today, kind, name), _clicks(kind, name, having(kind, name, earlier))
        for cell in sorted(set(mine) & set(before), key=str):
            share, click = mine[cell]
            expected = before[cell] - rate
            both += share * (click - today["base_rate"]) * expected
            square += share * expected**2
    if square <= 0 or not today["rows"]:
        return None
    chance = today["base_rate"] * (1 - today["base_rate"]) / today["rows"]
    return Agreement(both / square, math.sqrt(chance / square))


def _mean_rate(profiles: Sequence[Profile]) -> float | None:
    known = [(p["base_rate"], p["rows"]) for p in profiles if p["base_rate"] is not None]
    rows = sum(n for _, n in known)
    return math.fsum(rate * n for rate, n in known) / rows if rows else None


def _cells(profile: Profile, kind: str, name: str) -> dict[Any, tuple[float, float]]:
    """Return the share of rows and the click rate of each frequent id, or bin."""
    found = profile[kind][name]
    shares = found["top"] if kind == "categorical" else dict(enumerate(found["histogram"]))
    rates = found.get("rates", {})  # older profiles have none
    known = rates if kind == "categorical" else dict(enumerate(rates))
    return {cell: (shares[cell], known[cell]) for cell in shares if known.get(cell) is not None}


def _clicks(kind: str, name: str, profiles: Sequence[Profile]) -> dict[Any, float]:
    """Return the click rate of ids, or bins, over some days."""
    sums: dict[Any, list[float]] = {}
    for profile in profiles:
        for cell, (share, rate) in _cells(profile, kind, name).items():
            total = sums.setdefault(cell, [0.0, 0.0])
            total[0] += share * profile["rows"]
            total[1] += share * profile["rows"] * rate
    return {cell: clicks / rows for cell, (rows, clicks) in sums.items() if rows > 0}
