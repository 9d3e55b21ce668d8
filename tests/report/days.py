"""Hand-made days for the report's tests, in the formats that the steps write."""

from typing import Any

from recprune.registry.history import Entry
from recprune.report.record import DayRecord

NASTY = "<script>alert(1)</script>"
NOTHING = {"rows": 0, "difference": None, "low": None, "high": None, "detectable": None}


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
        "refresh": {"statistic": 0.01, "threshold": 0.02, "quiet_until": ""},
        "phase": "none",
        "carved_days": 0,
        "probation_days": 0,
        "decisions": ["2024-01-02: a carving starts, the prune tax has risen"],
        "swap": {"dropped": [f"{NASTY}[3]"], "added": ["item × user"]},
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
        "slices": [{"feature": "age", "value": NASTY, "rows": 300, "base_rate": 0.2, "ne": 0.8, "calibration": 1.0}],
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
    found.prune.update({"tax": NOTHING, "skipped": "a line was not finite after its pass"})
    del found.prune["swap"]
    return found


def entry(event: Any, day: str, champion: str, why: str = "told") -> Entry:
    return Entry(event=event, day=day, champion=champion, bundle="0" * 64, why=why, at="2026-01-01T00:00:00+00:00")


GENESIS = entry("genesis", "2024-01-01", "2024-01-01")
