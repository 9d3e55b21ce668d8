"""Made-up back-tests in the format that `recprune backtest` writes."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.metrics.bootstrap import Kind, compare, holm, verdict
from tests.report.days import NASTY

Json = dict[str, Any]
LOSS = {"dense": 0.0, "small_dense": 0.012, "ads": 0.004, "d2s": 0.016, "fixed_mask": 0.011, "frozen": 0.06}
"""Mean NE above the dense model's at 20 % of its FLOPs; twice as much at 5 %."""
DENSE = {"columns": 160, "pairs": 105, "vectors": 15, "bottom.0": 128, "bottom.1": 64, "top.0": 256, "top.1": 128}
POLICIES = tuple(LOSS)
CLAIMS: dict[str, tuple[str, float, Kind]] = {
    "ads": ("small_dense", 0.0, "superior"),
    "fixed_mask": ("small_dense", 0.005, "non-inferior"),
}


def backtest(
    policies: Sequence[str] = POLICIES, budgets: Sequence[float] = (0.2, 0.05), seeds: int = 3, days: int = 40
) -> Json:
    """Return a whole result; the same every time."""
    draw = np.random.default_rng(7)
    first = date(2017, 3, 15)
    level = 0.78 + 0.05 * np.sin(np.arange(days) / 23) + draw.normal(0, 0.025, days)
    asked = [(policy, budget) for policy in policies for budget in ((1.0,) if policy == "dense" else budgets)]
    trials = [trial(policy, budget, seed, level, draw) for policy, budget in asked for seed in range(1, seeds + 1)]
    return {
        "format": 2,
        "title": "complete-journey",
        "source": "complete-journey",
        "model": "dlrm",
        "command": "recprune backtest --policies ads,small_dense --budgets 0.2,0.05 --seeds 3",
        "first": "2017-01-01",
        "last": (first + timedelta(days - 1)).isoformat(),
        "tuned_until": "2017-03-14",
        "days": [(first + timedelta(day)).isoformat() for day in range(days)],
        "rows": draw.integers(3200, 6500, days).tolist(),
        "base_rate": draw.normal(0.44, 0.02, days).round(4).tolist(),
        "budgets": list(budgets),
        "cost": "flops",
        "seeds": list(range(1, seeds + 1)),
        "trials": trials,
        "comparisons": comparisons(trials, policies, budgets),
        "recovered": [],
        "not_tried": ["set, rigl and dsl: single weights are compared elsewhere.", "Budgets below 5 %."],
    }


def trial(policy: str, budget: float, seed: int, level: NDArray[np.float64], draw: np.random.Generator) -> Json:
    """Return one policy at one budget with one seed."""
    days = len(level)
    when = np.arange(days) / max(days, 60)
    above = LOSS.get(policy, 0.02) * (2 - 5 * (budget - 0.05) if budget < 0.2 else 1)
    loss = above * (2.4 * when if policy == "frozen" else 1 + 0.4 * np.sin(6 * when + len(policy)))
    ne = level * (1 + loss + draw.normal(0, 0.003) + draw.normal(0, 0.012, days) * (policy != "dense"))
    share = 1.0 if policy == "dense" else budget * 0.993
    own = 1.25 if policy == "small_dense" else 1.0
    latency = {"1": 24 + 46 * share * own + draw.normal(0, 0.7), "128": 60 + 900 * share * own + draw.normal(0, 9)}
    return {
        "policy": policy,
        "budget": budget,
        "seed": seed,
        "settings": {
            "policy": policy,
            "learning_rate": 0.002 if policy == "dense" else 0.004,
            "embedding_learning_rate": 0.02,
            "structure": "48 × 32 neurons, all inputs" if policy == "small_dense" else "carved",
        },
        "ne": ne.round(6).tolist(),
        "cost_share": [round(share, 4)] * days,
        "weights": [round(68_000 * share)] * days,
        "widths": {name: widths(name, policy, share, days) for name in DENSE},
        "inputs_changed": [int(policy == "ads") * int(n) for n in draw.poisson(4 * share, days)],
        "inputs_returned": [int(policy == "ads" and day % 5 == 0) for day in range(days)],
        "latency_us": {batch: round(time, 1) for batch, time in latency.items()},
        "latency_int8_us": {batch: round(0.62 * time, 1) for batch, time in latency.items()},
        "flops": round(305_000 * share),
        "training_flops": 4.8e13 * (share + (policy in ("ads", "d2s"))),
        "train_seconds": round(61 * (0.6 + share), 1),
        "decisions": decisions(policy, days),
        "failed": None,
    }


def widths(name: str, policy: str, share: float, days: int) -> list[int]:
    """Return a layer's width per day; policies that carve change it, each on its own days."""
    full = DENSE[name]
    if policy == "dense":
        return [full] * days
    start = full * (0.25 + 0.5 * share) * {"small_dense": 0.8, "frozen": 1.1, "fixed_mask": 1.1}.get(policy, 1.0)
    every = {"ads": 90, "d2s": 28}.get(policy, 10**6)
    steps = np.array([np.sin(len(name) + 1.7 * (day // every)) for day in range(days)])
    wide = start * (1 + 0.3 * steps)
    if name == "columns" and policy == "ads":
        wide = wide + 3 * np.sin(np.arange(days) / 11)
    return [max(1, round(float(w))) for w in wide]


def decisions(policy: str, days: int) -> list[str]:
    """Return what a policy decided, with its day."""
    every = {"ads": 90, "d2s": 28}.get(policy, 10**6)
    start = date(2017, 3, 15)
    what = "a carving starts, the prune tax has risen" if policy == "ads" else "carved anew, served at once"
    return [f"{start + timedelta(day)}: {what}" for day in range(every, days, every)]


def comparisons(trials: list[Json], policies: Sequence[str], budgets: Sequence[float]) -> list[Json]:
    """Compare every policy with the dense model and the best small network, as the replay does."""
    found = [
        compared(trials, policy, against, budget)
        for budget in budgets
        for policy in policies
        for against in ("dense", "small_dense")
        if against in policies and policy not in ("dense", against)
    ]
    primary = [c for c in found if (c["policy"], c["against"]) == ("ads", "small_dense") and c["p"] is not None]
    for c, p in zip(primary, holm([c["p"] for c in primary]), strict=True):
        c["p_holm"] = p
    return found


def compared(trials: list[Json], policy: str, against: str, budget: float) -> Json:
    first, second = (ne(trials, name, 1.0 if name == "dense" else budget) for name in (policy, against))
    result = compare(first, second, replicates=400)
    about: Json = {"policy": policy, "against": against, "budget": budget, **result.to_json(), "p_holm": None}
    claimed, margin, kind = CLAIMS.get(policy, ("", 0.0, "superior"))
    told = verdict(result, margin, kind).to_json() if claimed == against else {"verdict": None, "reason": None}
    return about | told


def ne(trials: list[Json], policy: str, budget: float) -> NDArray[np.float64]:
    return np.array([t["ne"] for t in trials if (t["policy"], t["budget"]) == (policy, budget)], float)


def fail(result: Json, policy: str, budget: float, seed: int, why: str = f"a loss was not finite {NASTY}") -> None:
    """Let a trial fail on its first day."""
    empty: Json = {
        "ne": [],
        "cost_share": [],
        "weights": [],
        "widths": {},
        "inputs_changed": [],
        "inputs_returned": [],
        "decisions": [],
    }
    for each in result["trials"]:
        if (each["policy"], each["budget"], each["seed"]) == (policy, budget, seed):
            each |= {**empty, "latency_us": None, "latency_int8_us": None, "failed": why}
