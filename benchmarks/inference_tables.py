"""The tables of what pruning is worth at inference, as Markdown."""

from collections.abc import Mapping
from typing import Any, get_args

from recprune.lowering.builder import Section

SECTIONS = get_args(Section)


def ratio(times: Mapping[str, Mapping[str, float]], name: str) -> str:
    """Return how many times as fast as the dense network's a file is."""
    return f"{times['dense']['p50'] / times[name]['p50']:.1f} ×"


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures as Markdown."""
    columns = (
        "shape, budget", "MLP left", "way", "bytes", "NE to dense (95 %)", "1 row", "16", "128", "1,024", "128, fp32",
        "128, no look-ups", "request of 128", "differs",
    )  # fmt: skip
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for label, told in _labelled(found):
        at, asked = told["times"]["us_per_row"], told["request times"]["us_per_row"]["128"]
        ne, looked, full = told["plain"]["ne"], told["lookups"], told["times"]["us_per_row"]["128"]
        bare = (full["dense"]["p50"] - looked["dense"]) / (full["plain"]["p50"] - looked["served"])
        cells = (
            label,
            f"{told['mlp']:.1%}",
            told["plain"]["lowering"],
            f"{told['bytes']['plain']:.0%}",
            f"{ne['difference']:+.2%} ({ne['low']:+.2%} to {ne['high']:+.2%})",
            ratio(at["1"], "plain"),
            ratio(at["16"], "plain"),
            f"{full['dense']['p50']:.1f} → {full['plain']['p50']:.1f} µs: {ratio(full, 'plain')}",
            ratio(at["1024"], "plain"),
            ratio(full, "plain fp32"),
            f"{bare:.1f} ×",
            f"{asked['request']['p50']:.1f} µs: {ratio(asked, 'request')}",
            f"{told['same']:.0e}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def promised(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how many times as fast the dense network is in other ways, and their bytes, as Markdown."""
    lines = ["| shape | the dense network as | bytes | 1 row | 16 | 128 | 1,024 |", "|---|---|---|---|---|---|---|"]
    for name, shares in found.items():
        told = shares["promises"]
        for way, size in told["bytes"].items():
            if way != "dense":
                cells = " | ".join(ratio(times, way) for times in told["times"].values())
                lines.append(f"| {name} | {way} | {size:.0%} | {cells} |")
    return "\n".join(lines)


def split(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what the time of a call of 128 rows is spent on, as Markdown, microseconds a row."""
    lines = [f"| shape, budget | file | {' | '.join(SECTIONS)} |", "|---|---|" + "---|" * len(SECTIONS)]
    for label, told in _labelled(found):
        spent = {**told["times"]["spent"], "request": told["request times"]["spent"]["request"]}
        for file, us in spent.items():
            cells = " | ".join(f"{us.get(section, 0):.2f}" for section in SECTIONS)
            lines.append(f"| {label} | {file} | {cells} |")
    return "\n".join(lines)


def _labelled(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Any]]:
    return [
        (f"{name}, {float(share):.0%}", told)
        for name, shares in found.items()
        for share, told in shares.items()
        if share != "promises"
    ]
