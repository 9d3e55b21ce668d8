"""What a step is expected to take, and what it came to: the first and last lines of its task's log."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from recprune import times
from recprune.data.verdict import VERDICT
from recprune.files import MANIFEST, read_json
from recprune.registry import history
from recprune.report import formats
from recprune.report.day_page import shown
from recprune.workspace import (
    REPORTS,
    day_state,
    delivered_path,
    planned_days,
    read_plan,
    report_path,
    validation_path,
)

Rows = list[tuple[str, str]]
_LOOKED_AT = 60
"""Days before this one among which a step's last times are looked for."""


def expected(day: str, step: str) -> str:
    """Say how long a step is expected to take; empty where it was never timed."""
    before = [each for each in planned_days() if each < day][-_LOOKED_AT:]
    usual = times.usual([times.took(times.of_day(each)) for each in before]).get(step)
    if usual is None:
        return ""
    days = f"its last {usual.days} days" if usual.days > 1 else "the day before"
    span = f"{formats.lasting(usual.fastest)} to {formats.lasting(usual.slowest)}"
    return f"{day} {step}: {formats.lasting(usual.seconds)} expected ({span} on {days})"


def show_summary(console: Console, day: str, step: str) -> None:
    """Print the table of a step that has just been done."""
    table = Table(Column(no_wrap=True), Column(overflow="fold"), box=None, pad_edge=False, show_header=False)
    for name, value in _TELLING[step](day):
        table.add_row(name, value)
    console.print(f"--- {day} {step} ---")
    console.print(table)


def _manifest(folder: str, day: str, part: str = "") -> Any:
    return read_json(Path(folder) / day / part / MANIFEST)


def _plan(day: str) -> Rows:
    plan = read_plan(day)
    rows = [("parent", plan["parent"]), ("champion before", plan["champion"])]
    rows += [("served line restarts", plan["restart"])] if plan["restart"] else []
    return rows + [("change", sentence) for sentence in (plan.get("change") or {"sentences": []})["sentences"]]


def _ingest(day: str) -> Rows:
    found = _manifest("data/events", day)
    rows = [(name, formats.count(count)) for name, count in found["counts"].items()]
    return rows + [(f"  {reason}", formats.count(count)) for reason, count in found["reasons"].items()]


def _validate(day: str) -> Rows:
    found = read_json(validation_path(day) / VERDICT)
    failed = [each["sentence"] for each in found["expectations"] if not each["passed"]]
    met = f"{len(found['expectations']) - len(failed)} of {len(found['expectations'])}"
    rows = [("verdict", found["verdict"]), ("rows accepted", formats.count(found["counts"]["accepted"]))]
    return [*rows, ("expectations met", met), *(("not met", told) for told in (*found["problems"], *failed))]


def _featurize(day: str) -> Rows:
    found = _manifest("vocab", day)
    rows = [(f"ids of {name}", formats.count(n)) for name, n in zip(found["features"], found["sizes"], strict=True)]
    return [("ids of all features", formats.count(sum(found["sizes"]))), *rows]


def _train(day: str) -> Rows:
    found = _manifest("models", day, "trained")
    rows = [("every number finite", "yes" if found["finite"] else "no: the parent's weights are kept")]
    return rows + [
        (name, f"{formats.count(line['flops'])} FLOPs a row, {formats.count(line['step'])} steps in its life")
        for name, line in found["lines"].items()
    ]


def _prune(day: str) -> Rows:
    found = read_json(report_path(day, "prune"))
    tax = found["tax"]
    interval = "" if tax["low"] is None else f" ({formats.signed(tax['low'])} to {formats.signed(tax['high'])})"
    return [
        ("FLOPs kept", f"{formats.percent(found['delivered'])}, asked {formats.percent(found['asked'])}"),
        ("prune tax", formats.signed(tax["difference"]) + interval),
        ("mask changed", formats.percent(found["churn"]["overall"])),
        *([("skipped", found["skipped"])] if "skipped" in found else []),
        *((f"width of {name}", f"{of['served']} of {of['dense']}") for name, of in found["widths"].items()),
        *(("decided", told.partition(": ")[2]) for told in found["decisions"] if told.startswith(f"{day}: ")),
    ]


def _export(day: str) -> Rows:
    found, delivered = _manifest("bundles", day), read_json(delivered_path(day))
    rows = [
        ("size", formats.size(found["bytes"])),
        ("written down as", delivered["ways"]["chosen"]),
        ("largest difference to torch", formats.general(found["parity"].get("fp32"))),
    ]
    for batch, of in (delivered["us_per_row"] or {}).items():
        served, dense = of["served"]["p50"], of["dense"]["p50"]
        rows.append((f"µs a row at {batch}", f"{served:.2f}, {dense / served:.1f} × as fast as dense"))
    return rows


def _evaluate(day: str) -> Rows:
    found, latency = read_json(report_path(day, "evaluation")), read_json(report_path(day, "measurements"))["latency"]
    rows = [(f"next-day NE of {name}", formats.number(ne)) for name, ne in found["next_day"]["ne"].items()]
    rows += [(f"NE of {name} on the tail", formats.number(ne)) for name, ne in found["tail"]["ne"].items()]
    return rows + [
        (f"call of {batch}, {who}", f"p50 {formats.duration(of['p50_us'])}, p99 {formats.duration(of['p99_us'])}")
        for who, batches in latency.items()
        for batch, of in batches.items()
    ]


def _gate(day: str) -> Rows:
    found = read_json(report_path(day, "gate"))
    rows = []
    for rule in found["rules"]:
        of = shown(rule)
        told = [(of["value"], ""), (of["limit"], ""), (of["distance"], "distance to pass ")]
        known = ", ".join(before + text for text, before in told if text != formats.NONE)
        rows.append((rule["name"], rule["verdict"] + (f": {known}" if known else "")))
    return [*rows, ("verdict", found["verdict"])]


def _store(day: str) -> Rows:
    state = day_state(day)
    return [("tag", f"day/{day}"), ("verdict", str(state.verdict)), ("why", state.sentence)]


def _promote(_: str) -> Rows:
    champion = history.current()
    return [("champion", champion), ("bundle", f"bundles/{champion}")]


def _report(day: str) -> Rows:
    return [("page", str(REPORTS / day / "index.html")), ("all days", str(REPORTS / "index.html"))]


_TELLING: dict[str, Callable[[str], Rows]] = {
    "plan": _plan,
    "ingest": _ingest,
    "validate": _validate,
    "featurize": _featurize,
    "train": _train,
    "prune": _prune,
    "export": _export,
    "evaluate": _evaluate,
    "gate": _gate,
    "store": _store,
    "promote": _promote,
    "report": _report,
}
