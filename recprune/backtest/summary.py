"""The back-test's result: trials, paired comparisons with intervals, verdicts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recprune.backtest.trial import Trial
from recprune.metrics.bootstrap import Comparison, compare, holm, verdict

MARGIN = 0.005
"""Relative NE by which a policy may be worse and still be called non-inferior."""
AGAINST = ("dense", "small_dense")


@dataclass(frozen=True, slots=True)
class Run:
    """A full trial and what came of it."""

    trial: Trial
    asked: str
    """The policy as it was asked for; a tuned `small_dense` keeps this name."""
    record: dict[str, Any]
    latency: dict[str, dict[str, float]] | None

    @property
    def budget(self) -> float:
        """Return the budget that was asked for; dense has all."""
        return 1.0 if self.asked.partition(":")[0] == "dense" else self.trial.chosen.budget


def trial_json(run: Run, first: int) -> dict[str, Any]:
    """Return a trial of the result file, days from `first` on."""
    record, trial = run.record, run.trial
    latency = run.latency or {}
    per_day = ("ne", "cost_share", "weights", "inputs_changed")
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

    The primary comparisons, ads − small_dense at each budget, share their error (Holm).
    """
    found = list(_compared(runs, budgets, first))
    primary = [row for row, _ in found if row["policy"] == "ads" and row["against"] == "small_dense"]
    known = [row for row in primary if row["p"] is not None]
    for row, p in zip(known, holm([row["p"] for row in known]), strict=True):
        row["p_holm"] = p
    return [row for row, _ in found]


def _compared(runs: Sequence[Run], budgets: Sequence[float], first: int) -> Iterator[tuple[dict[str, Any], Comparison]]:
    for budget in budgets:
        arms: dict[str, list[Run]] = {}
        for run in runs:
            if run.budget in (budget, 1.0) and not run.record["failed"]:
                arms.setdefault(run.asked, []).append(run)
        for policy in arms:
            for against in AGAINST:
                if policy == against or against not in arms or (policy == "dense"):
                    continue
                ours, theirs = _paired(arms[policy], arms[against], first)
                if len(ours) == 0:
                    continue
                result = compare(ours, theirs)
                judged = verdict(result, MARGIN)
                yield (
                    {
                        "policy": policy,
                        "against": against,
                        "budget": budget,
                        **result.to_json(),
                        "p_holm": None,
                        **judged.to_json(),
                    },
                    result,
                )


def _paired(ours: Sequence[Run], theirs: Sequence[Run], first: int) -> tuple[Any, Any]:
    """Return NE of the seeds that both have, (S, D) each; NaN where a day has none."""
    mine, other = ({run.trial.train.seed: run.record["ne"][first:] for run in runs} for runs in (ours, theirs))
    seeds = sorted(mine.keys() & other.keys())
    ours_ne, theirs_ne = (np.array([table[s] for s in seeds], dtype=np.float64) for table in (mine, other))
    return ours_ne, theirs_ne
