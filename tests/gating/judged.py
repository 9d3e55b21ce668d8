"""What the gate reads: scores of two models, an evaluation, limits."""

from typing import Any

import numpy as np
import polars as pl

from recprune.gating.evidence import Evidence
from recprune.gating.limits import GATE_RULES
from recprune.metrics.sums import sums_table
from tests.makers import settings

DAY, CHAMPION = "2024-01-05", "2024-01-04"
SETTINGS = settings(
    gate={
        "ne_margin": 0.01,
        "age_relief": 0.001,
        "confidence": 0.95,
        "calibration": 0.1,
        "parity": 1e-5,
        "rounding_margin": 0.002,
        "max_megabytes": 2.0,
        "max_churn": 0.25,
        "max_latency_ratio": 2.0,
        "slice_margin": 0.05,
        "ne_floor": 1.0,
        "max_rejected_share": 0.02,
        "max_champion_age": 30,
    },
    prune={"budget": 0.2},
)
RULES = list(GATE_RULES)
MEASURED = {"latency": {name: {"1": {"p50_us": 50.0}, "128": {"p50_us": 400.0}} for name in ("candidate", "champion")}}
VALIDATION = {
    "day": DAY, "verdict": "good", "sentence": "", "counts": {"read": 1000, "accepted": 990, "rejected": 10}
}  # fmt: skip

DELIVERED = {"facts": {"bytes": {"dense": 2_000_000, "served": 1_900_000}}, "sparse": True}


def scores(day: str, rows: int, harm: float, *, noise: float = 0.02, kind: str = "tail", seed: int = 0) -> pl.DataFrame:
    """Return losses of which the served line's are `harm` worse, in relation."""
    draw = np.random.default_rng([rows, seed])
    champion = 0.5 + draw.normal(0, 0.1, rows)
    served = champion + 0.5 * harm + draw.normal(0, noise, rows)
    columns = {"served": served, "champion": champion}
    return pl.DataFrame(columns).select(
        day=pl.lit(day),
        champion_day=pl.lit(CHAMPION),
        rows=pl.lit(kind),
        served="served",
        champion="champion",
    )


GOOD = scores(DAY, 4000, 0.0)


def sliced(
    day: str = DAY, rows: int = 4000, *, harmed: float = 0.0, noise: float = 0.02, kind: str = "tail", seed: int = 0,
    values: int = 8,
) -> pl.DataFrame:  # fmt: skip
    """Return sums of two models that are alike but for noise; on group 3 the candidate's logit is off by `harmed`."""
    draw = np.random.default_rng([rows, seed])
    logit, group = draw.normal(-1.0, 1.0, rows), draw.integers(0, values, rows)
    label = (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    ours = 1 / (1 + np.exp(-logit - draw.normal(0, noise, rows) - harmed * (group == 3)))
    theirs = 1 / (1 + np.exp(-logit - draw.normal(0, noise, rows)))
    return sums_table(day, kind, label, (ours, theirs), [("group", pl.Series(group))])


SUMS = sliced(rows=40_000, values=4)


def seen(
    prune: Any = None,
    found: Any = None,
    pool: pl.DataFrame = GOOD,
    *,
    measured: Any = MEASURED,
    sums: pl.DataFrame | None = SUMS,
    validation: Any = VALIDATION,
    delivered: Any = DELIVERED,
) -> Evidence:
    """Return the evidence of a good day, with some parts changed."""
    return Evidence(
        day=DAY,
        pruned=pruned() if prune is None else prune,
        evaluation=evaluation() if found is None else found,
        measurements=measured,
        validation=validation,
        delivered=delivered,
        pool=pool,
        sums=sums,
    )


def pruned(came: int = 2, went: int = 2, *, finite: bool = True, takeover: bool = False) -> dict[str, Any]:
    """Return what `prune` reported: inputs that came and went, of 20 before, and 20 neurons that stayed."""
    inputs, neurons = {"before": 20, "came": came, "went": went}, {"before": 20, "came": 0, "went": 0}
    overall = (came + went) / (40 + came)
    churn = {"overall": overall, "takeover": takeover, "kinds": {"inputs": inputs, "top.0": neurons}}
    return {"finite": finite, "tax": {"difference": 0.01}, "asked": 0.2, "delivered": 0.19, "churn": churn}


def evaluation(champion: str = CHAMPION, **changes: Any) -> dict[str, Any]:
    """Return what `evaluate` found on a good day, with some values changed: `section__key`."""
    found: dict[str, Any] = {
        "champion_day": champion,
        "inputs_unchanged": True,
        "inputs": {"digest": "3f2a91c0be12", "new": ["city"], "gone": [], "changed": []},
        "parity": {"fp32": 1e-6},
        "rounding": {
            "rounded": True,
            "rows": 500,
            "difference": 0.0001,
            "low": -0.0002,
            "high": 0.0004,
            "detectable": 0.0005,
        },
        "delivered": {"candidate": 0.19, "champion": 0.19},
        "bytes": {"candidate": 1_900_000, "champion": 1_000},
        "tail": {
            "rows": 10_000,
            "base_rate": 0.2,
            "calibration": {"candidate": 1.02, "champion": 1.0},
        },
        "next_day": {"rows": 9, "base_rate": 0.2, "ne": {"served": 0.8}, "auc": {"served": 0.7}},
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        found[section] = {**found[section], key: value} if key else value
    return found
