"""The table of faults: the days of a fault and a strength are one row."""

import re
from collections.abc import Sequence
from itertools import groupby
from statistics import mean
from typing import Any

SMALL = 0.005
"""Relative NE that a fault may lose and be harmless; more where another seed of the training alone changes more."""


def table(runs: Sequence[dict[str, Any]], control: str) -> str:
    """Return a Markdown table."""
    lines = [
        "| fault | strength | quarantined | why | set aside | promoted | next days | NE of the next 2 days | so |",
        "|---|---:|---:|---|---:|---:|---|---:|---|",
    ]
    out = {r["day"]: r["losses"]["served"] for r in runs if r["verdict"] == "quarantined" and r["fault"] != "late_rows"}
    lines.append(
        f"| a day left out, for comparison | | {len(out)} of {len(out)} | | | | | {_range([*out.values()])} | |"
    )
    chance = max([SMALL, *(abs(r["losses"]["served"]) for r in runs if r["fault"] == control)])
    order = sorted(runs, key=lambda r: (r["fault"] != control, r["fault"], r["strength"], r["day"]))
    for (name, strength), group in groupby(order, key=lambda r: (r["fault"], r["strength"])):
        rows = list(group)
        good = [r for r in rows if r["verdict"] != "quarantined"]
        losses = [r["losses"]["served"] for r in good if r["losses"]["served"] is not None]
        cells = [
            name,
            "" if name == control else f"{strength:g}",
            f"{len(rows) - len(good)} of {len(rows)}",
            _reasons(rows),
            f"{100 * mean(_aside(r) for r in rows):.0f} %",
            f"{sum(r['verdict'] == 'passed' for r in rows)} of {len(rows)}",
            _next(rows),
            _range(losses),
            "" if name == control else _class(rows, chance),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _aside(run: dict[str, Any]) -> float:
    counts = run["counts"]
    return (counts["read"] - counts["accepted"]) / max(counts["read"], 1)


def _reasons(rows: Sequence[dict[str, Any]]) -> str:
    """Return what the verdicts' sentences name first, each once."""
    told: dict[str, None] = {}
    for r in rows:
        if r["verdict"] == "quarantined":
            first = r["sentence"].split(" quarantined: ")[1].split("; ")[0].split(" is ")[0]
            told[re.sub(r" for \d{4}-\d{2}-\d{2}:.*", "", first.replace(r["feature"] or "\0", "*feature*"))] = None
    return ", ".join(told) or "–"


def _next(rows: Sequence[dict[str, Any]]) -> str:
    ends = [verdict for r in rows for verdict in r["next"]]
    told = [f"{ends.count(v)} {v}" for v in ("quarantined", "held") if v in ends]
    return ", ".join(told) or "promoted"


def _range(losses: Sequence[float]) -> str:
    """Return the mean over days, the least and the most."""
    if not losses:
        return "–"
    low, high = min(losses), max(losses)
    return f"{100 * mean(losses):+.2f} %" + (f" ({100 * low:+.2f} to {100 * high:+.2f})" if len(losses) > 1 else "")


def _class(rows: Sequence[dict[str, Any]], chance: float) -> str:
    good = [r for r in rows if r["verdict"] != "quarantined"]
    if not good:
        return "caught"
    partly = f"{len(rows) - len(good)} of {len(rows)} caught; else " if len(good) < len(rows) else ""
    if all(r["same"] for r in good):
        return f"{partly}the same events"
    harmed = sum(r["losses"]["served"] > chance for r in good)
    if not harmed:
        harmless = all(r["losses"]["served"] <= SMALL for r in good)
        return f"{partly}{'harmless' if harmless else 'within chance'}"
    return f"{partly}**harm** on {harmed} of {len(good)}"
