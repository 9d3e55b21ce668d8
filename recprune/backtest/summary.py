"""The back-test's result: trials, paired comparisons with intervals, verdicts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recprune.backtest.trial import Trial
from recprune.metrics.bootstrap import compare, holm, verdict

MARGIN = 0.005
"""Relative NE by which a policy may be worse and still be called non-inferior."""
AGAINST = ("dense", "small_dense")
JUDGED = "ads"
"""The policy whose claims were fixed beforehand; the others' comparisons describe, without a verdict."""
NOT_JUDGED = {"verdict": None, "reason": None}


@dataclass(frozen=True, slots=True)
class Run:
    """A full trial and what came of it."""

    trial: Trial
    asked: str
    """The policy as it was asked for; a tuned `small_dense` keeps this name."""
    record: dict[str, Any]
    latency: dict[str, dict[str, float]] | None

    @property
    def is_dense(self) -> bool:
        """Say whether this is the full model."""
        return self.trial.chosen.name == "dense"

    @property
    def budget(self) -> float:
        """Return the budget that was asked for; dense has all."""
        return 1.0 if self.is_dense else self.trial.chosen.budget


def trial_json(run: Run, first: int) -> dict[str, Any]:
    """Return a trial of the result file, days from `first` on."""
    record, trial = run.record, run.trial
    latency = run.latency or {}
    per_day = ("ne", "cost_share", "weights", "inputs_changed", "inputs_returned")
    known = {name: record[name][first:] for name in per_day}
    return {
        "policy": run.asked,
        "budget": run.budget,
        "seed": trial.train.seed,
        "settings": {
            "policy": trial.chosen.text,
            "learning_rate": trial.train.learning_rate,
            "embedding_learning_rate": trial.train.embedding_learning_rate,
        },
        **known,
        "widths": {kind: counts[first:] for kind, counts in record["widths"].items()},
        "latency_us": latency.get("fp32"),
        "latency_int8_us": latency.get("int8"),
        "training_flops": record["training_flops"],
        "train_seconds": record["train_seconds"],
        "decisions": record["decisions"],
        "failed": record["failed"],
    }


def comparisons(runs: Sequence[Run], budgets: Sequence[float], first: int) -> list[dict[str, Any]]:
    """Compare every policy with dense and with small_dense at each budget, on the days from `first` on.

    The primary comparisons, ads − small_dense at each budget, share their error (Holm). They and ads − dense
    are judged.
    """
    found = [row for budget in budgets for row in _compared(runs, budget, first)]
    primary = [row for row in found if (row["policy"], row["against"]) == (JUDGED, "small_dense")]
    known = [row for row in primary if row["p"] is not None]
    for row, p in zip(known, holm([row["p"] for row in known]), strict=True):
        row["p_holm"] = p
    return found


def recovered(runs: Sequence[Run], budgets: Sequence[float], first: int) -> list[dict[str, Any]]:
    """Say how much of the headroom ads recovers, at each budget where the headroom is clear of zero.

    share = (NE(small_dense) − NE(ads)) / (NE(small_dense) − NE(dense)). That it is at least one half is judged by
    comparing ads with the middle between the two, day by day.
    """
    return [row for budget in budgets for row in _recovered(runs, budget, first)]


def _recovered(runs: Sequence[Run], budget: float, first: int) -> Iterator[dict[str, Any]]:
    arms = _arms(runs, budget)
    if not {JUDGED, *AGAINST} <= arms.keys():
        return
    ads, dense, small = _paired([arms[name] for name in (JUDGED, *AGAINST)], first)
    if not len(ads):
        return
    kept = np.isfinite([ads, dense, small]).all(axis=(0, 1))
    low = compare(small[:, kept], dense[:, kept]).low
    if low is None or low <= 0:
        return
    against_middle = compare(ads, (small + dense) / 2)
    share = (small - ads)[:, kept].mean() / (small - dense)[:, kept].mean()
    yield {"policy": JUDGED, "budget": budget, "share": float(share)} | verdict(against_middle, 0.0).to_json()


def _compared(runs: Sequence[Run], budget: float, first: int) -> Iterator[dict[str, Any]]:
    arms = _arms(runs, budget)
    pairs = [(p, a) for p in arms for a in AGAINST if a in arms and a != p and p != "dense"]
    for policy, against in pairs:
        ours, theirs = _paired([arms[policy], arms[against]], first)
        if len(ours):
            result = compare(ours, theirs)
            row = {"policy": policy, "against": against, "budget": budget, **result.to_json(), "p_holm": None}
            yield row | (verdict(result, MARGIN).to_json() if policy == JUDGED else NOT_JUDGED)


def _arms(runs: Sequence[Run], budget: float) -> dict[str, list[Run]]:
    """Return the runs at a budget by policy, dense among them, failed ones left out."""
    arms: dict[str, list[Run]] = {}
    for run in runs:
        if (run.is_dense or run.budget == budget) and not run.record["failed"]:
            arms.setdefault(run.asked, []).append(run)
    return arms


def _paired(arms: Sequence[Sequence[Run]], first: int) -> list[Any]:
    """Return each policy's NE of the seeds that all have, (S, D); NaN where a day has none."""
    tables = [{run.trial.train.seed: run.record["ne"][first:] for run in runs} for runs in arms]
    seeds = sorted(set.intersection(*(set(table) for table in tables)))
    return [np.array([table[s] for s in seeds], dtype=np.float64) for table in tables]
