"""Hand-made days for the report's tests, in the formats that the steps write."""

from dataclasses import asdict, replace
from typing import Any

from recprune.pruning.churn import churn, difference
from recprune.pruning.ledger import Mask
from recprune.registry.history import Entry
from recprune.report.record import DayRecord

NASTY = "<script>alert(1)</script>"
NOTHING = {"rows": 0, "difference": None, "low": None, "high": None, "detectable": None}

BEFORE = Mask(
    vectors=(NASTY, "item", "user", "age", "store"),
    embedding=6,
    dense={"inputs": 40, "vectors": 5, "top.0": 64},
    kept={"inputs": (3, 6, 7, 8, 12, 13, 18, 19, 24, 30, 35, 37), "vectors": (0, 1, 2, 3, 4), "top.0": (*range(16),)},
)
SWAPPED = replace(BEFORE, kept=BEFORE.kept | {"inputs": (6, 7, 8, 12, 13, 18, 19, 24, 30, 34, 35, 37)})
CARVED = replace(BEFORE, kept={"inputs": (*range(6, 18),), "vectors": (1, 2), "top.0": (*range(8, 24),)})
"""NASTY[3] went and item × user came; a challenger of two features only took over."""


def ledger(before: Mask, after: Mask, *, takeover: bool = False, restarted: bool = False) -> dict[str, Any]:
    kinds = difference(before, after).kinds
    changed: dict[str, Any] = {"overall": churn(kinds.values()), "takeover": takeover, "restarted": restarted}
    changed["kinds"] = {kind: {**asdict(change), "jaccard": change.jaccard} for kind, change in kinds.items()}
    return {"mask": after.to_json(), "churn": changed | {"kept_before": before.packed()}}


def takeover(day: str) -> DayRecord:
    """Return a day on which a challenger took over."""
    found = record(day)
    assert found.prune
    found.prune.update(ledger(BEFORE, CARVED, takeover=True))
    found.prune.update(competition={"outcome": "won", "mean_loss_difference": -0.01})
    found.prune["decisions"] = [f"{day}: the challenger took over"]
    return found


def expectation(name: str, passed: bool = True, observed: float | None = 0.5) -> dict[str, Any]:
    return {
        "name": name,
        "observed": observed,
        "low": 0.25,
        "high": 0.75,
        "compared_with": ["2024-01-01", "2024-01-02", "2024-01-03"],
        "passed": passed,
        "sentence": f"{name} is {'nothing' if observed is None else observed}, expected 0.25 to 0.75",
    }


def validation(day: str, verdict: str = "good", *failed: dict[str, Any]) -> dict[str, Any]:
    return {
        "day": day,
        "verdict": verdict,
        "sentence": f"{day} is {verdict}.",
        "counts": {"read": 1000, "accepted": 990, "rejected": 7, "duplicate": 2, "late": 1},
        "rejected_reasons": {f"label outside 0, 1 {NASTY}": 7},
        "problems": [],
        "expectations": [*failed, expectation("base rate")],
    }


def prune(day: str) -> dict[str, Any]:
    return {
        "day": day,
        "flops": {"dense": 1000, "served": 200},
        "asked": 0.2,
        "delivered": 0.2,
        "widths": {"inputs": {"dense": 40, "served": 12}, "top.0": {"dense": 64, "served": 16}},
        "inputs": {"columns": 8, "pairs": 4},
        "tax": {"rows": 990, "difference": 0.02, "low": 0.01, "high": 0.03, "detectable": 0.014},
        "tax_over_days": [
            {"window": 7, "days": 7, "mean": 0.018, "low": 0.012, "high": 0.024},
            {"window": 28, "days": 9, "mean": 0.017, "low": 0.013, "high": 0.021},
        ],
        "refresh": {"statistic": 1.2, "threshold": 5.0, "quiet_until": ""},
        "phase": "none",
        "carved_days": 0,
        "probation_days": 0,
        "decisions": ["2024-01-02: a carving starts, the prune tax has risen"],
        "swap": {"dropped": [f"{NASTY}[3]"], "added": ["item × user"]},
        **ledger(BEFORE, SWAPPED),
        "finite": True,
        "tail_loss": {"dense": 0.4, "served": 0.41},
    }


def evaluation(day: str) -> dict[str, Any]:
    models = {"champion": 0.81, "dense": 0.79, "served": 0.8}
    bundles = {"candidate": 0.8, "champion": 0.82}
    return {
        "day": day,
        "champion_day": "2024-01-01",
        "next_day": {"rows": 990, "base_rate": 0.2, "ne": models, "auc": models, "calibration": models},
        "tail": {"rows": 50, "base_rate": 0.2, "ne": bundles, "auc": bundles, "calibration": bundles},
        "line": {"rows": 990, "difference": 0.001, "low": -0.001, "high": 0.003, "detectable": 0.003},
        "slices": [
            {
                "feature": "age",
                "value": NASTY,
                "rows": 300,
                "base_rate": 0.2,
                "ne": models,
                "calibration": 1.0,
                "tax": {"rows": 300, "difference": 0.013, "low": 0.002, "high": 0.024, "detectable": 0.02},
            },
        ],
        "bytes": {"candidate": 1_200_000, "champion": 1_000_000},
        "parity": {"fp32": 1e-7, "rows": 990},
        "inputs_unchanged": True,
        "delivered": {"candidate": 0.2, "champion": 0.2},
    }


def measurements(day: str) -> dict[str, Any]:
    times = {"128": {"p50_us": 400.0, "p99_us": 5000.0}, "8": {"p50_us": 50.0, "p99_us": 90.0}}
    return {
        "day": day,
        "latency": {"candidate": times, "champion": times},
        "threads": 1,
        "onnxruntime": "1.0",
    }


def delivered(day: str) -> dict[str, Any]:
    us = {"served": {"p50": 2.5, "p99": 3.0}, "dense": {"p50": 10.0, "p99": 12.0}}
    return {
        "day": day,
        "facts": {"weights": {"dense": 1000, "served": 200}, "bytes": {"dense": 5000, "served": 1500}},
        "us_per_row": {"1": us, "128": us},
        "spent": {"dense": {"layers": 8.0, "rest": 1.0}, "served": {"layers": 1.5}},
        "ways": {"chosen": f"layers int8 {NASTY}", "us": {}},
        "sparse": True,
    }


def rule(name: str, verdict: str, **numbers: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("value", "interval", "limit", "distance", "detectable"))
    return {"name": name, "verdict": verdict, "reason": f"{name} told {NASTY}", **empty, **numbers}


def gate(day: str, verdict: str = "passed") -> dict[str, Any]:
    outcome = "failed" if verdict == "held" else "undecided"
    ne = {"value": 0.03, "interval": [0.02, 0.04], "limit": 0.01, "distance": -0.02, "detectable": 0.014}
    return {
        "day": day,
        "verdict": verdict,
        "sentence": f"{day} {verdict}: told.",
        "champion_day": "2024-01-01",
        "rules": [rule("finite", "passed"), rule("ne", outcome, **ne)],
        "latency": "measurements.json",
    }


def plan(day: str, parent: str = "2024-01-01") -> dict[str, Any]:
    return {"kind": "day", "day": day, "parent": parent, "champion": parent, "restart": None}


def record(day: str, verdict: str = "passed") -> DayRecord:
    """Return a day; a quarantined one has only its plan and its validation, an open one only its plan."""
    about: dict[str, Any] = {
        "day": day,
        "verdict": verdict,
        "sentence": f"{day} {verdict}: told.",
        "plan": plan(day),
    }
    if verdict == "open":
        return DayRecord(**about)
    if verdict == "quarantined":
        failed = expectation(f"price {NASTY}: share missing", passed=False, observed=None)
        return DayRecord(**about, validation=validation(day, "quarantined", failed))
    return DayRecord(
        **about,
        validation=validation(day),
        prune=prune(day),
        evaluation=evaluation(day),
        measurements=measurements(day),
        delivered=delivered(day),
        gate=gate(day, verdict),
    )


def blank(day: str) -> DayRecord:
    """Return a day of which nothing could be measured."""
    found = record(day)
    assert found.evaluation
    assert found.prune
    for part in ("next_day", "tail"):
        for metric in ("ne", "auc", "calibration"):
            found.evaluation[part][metric] = dict.fromkeys(found.evaluation[part][metric])
        found.evaluation[part] |= {"rows": 0, "base_rate": None}
    found.evaluation.update({"line": NOTHING, "slices": []})
    over_days = [{"window": n, "days": 0, "mean": None, "low": None, "high": None} for n in (7, 28)]
    found.prune.update({"tax": NOTHING, "tax_over_days": over_days, "skipped": "a line was not finite after its pass"})
    found.prune.update(ledger(BEFORE, BEFORE))
    del found.prune["swap"]
    return found


def entry(event: Any, day: str, champion: str, why: str = "told") -> Entry:
    return Entry(event=event, day=day, champion=champion, bundle="0" * 64, why=why, at="2026-01-01T00:00:00+00:00")


GENESIS = entry("genesis", "2024-01-01", "2024-01-01")
