"""`recprune registry`: which versions served when, and what differs between them."""

import sys
from typing import Annotated, Any

import typer
from rich.table import Table

from recprune.cli.terminal import Terminal
from recprune.days import known_day
from recprune.files import to_json
from recprune.registry.history import current
from recprune.registry.versions import (
    Period,
    Version,
    differences,
    precision,
    read_version,
    read_versions,
)
from recprune.report import formats

app = typer.Typer(help="Show which bundles served when, who changed that and why.", no_args_is_help=True)
out = Terminal()
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Day = Annotated[str, typer.Argument(help="A day whose bundle served, YYYY-MM-DD.")]


@app.command("list")
def list_(
    last: Annotated[int | None, typer.Option(min=1, help="Only the last so many.")] = None, as_json: Json = False
) -> None:
    """List what served when, oldest first; the last line serves now."""
    current()  # raises outside of a workspace
    served = [(period, version) for version in read_versions() for period in version.periods]
    shown = sorted(served, key=lambda each: each[0].number)[-last if last else 0 :]
    if as_json:
        sys.stdout.write(to_json([_plain(version, period) for period, version in shown]))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("version", "served", "days", "NE", "FLOPs", "size", "at 128", "change"):
        table.add_column(name, no_wrap=True)
    for period, version in shown:
        table.add_row(*_row(version, period))
    out.print(table)
    for period, version in shown:
        if (entry := period.entry).event not in ("genesis", "promoted"):
            out.print(f"{version.day}, {entry.at}, by {entry.who or 'unknown'}: {entry.reason()}", soft_wrap=True)


@app.command()
def show(day: Day, as_json: Json = False) -> None:
    """Show a version: when it served and why, its sizes, its latency."""
    version = read_version(known_day(day))
    if as_json:
        sys.stdout.write(to_json(version.to_json()))
        return
    for period in version.periods:
        at, who = period.entry.at, period.entry.who or "unknown"
        until = f" until {period.entry.until}" if period.entry.until else ""
        out.print(f"{_span(period)}: {period.entry.event}{until} by {who} at {at}. {period.entry.why}", soft_wrap=True)
    if version.ne is not None:
        out.print(f"NE {version.ne:.4f} on {_days(version.days)}, each scored before it was learned")
    about = version.manifest
    if not about:
        out.print(f"its bundle is not here; bring it with: recprune fetch {day}")
        return
    flops = about["flops"]
    out.print(f"{flops['served']:,} of {flops['dense']:,} FLOPs a row; {about['bytes']:,} bytes, {precision(about)}")
    out.print("widths: " + ", ".join(f"{name} {width:,}" for name, width in about["widths"].items()), soft_wrap=True)
    out.print("ids: " + ", ".join(f"{n} {size:,}" for n, size in about["vocabulary"].items() if size), soft_wrap=True)
    if unread := [name for name, size in about["vocabulary"].items() if not size]:
        out.print(f"not read: {', '.join(unread)}", soft_wrap=True)
    for batch, times in version.latency.items():
        out.print(f"{batch} rows: median {times['p50_us']:.0f} µs, p99 {times['p99_us']:.0f} µs when it was made")


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="DAY1", help="A day whose bundle served.")],
    second: Annotated[str, typer.Argument(metavar="DAY2", help="Another one.")],
) -> None:
    """Say in plain words what differs between two versions: quality, sizes, latency, widths, ids, inputs."""
    old, new = (read_version(known_day(day)) for day in (first, second))
    for line in differences(old, new):
        out.print(line, soft_wrap=True)


def _row(version: Version, period: Period) -> list[str]:
    about, timed = version.manifest, version.latency.get("128", {})
    days, ne = version.during(period)
    return [
        version.day,
        _span(period),
        str(days),
        formats.number(ne),
        formats.percent(about["flops"]["served"] / about["flops"]["dense"]) if about else formats.NONE,
        formats.size(about.get("bytes")),
        formats.duration(timed.get("p50_us")),
        period.entry.event,
    ]


def _plain(version: Version, period: Period) -> dict[str, Any]:
    """Return a line of the list as plain JSON, null where nothing is known."""
    about, (days, ne) = version.manifest, version.during(period)
    return {
        "version": version.day,
        "first": period.first,
        "last": period.last,
        "days": days,
        "ne": ne,
        "flops_kept": about["flops"]["served"] / about["flops"]["dense"] if about else None,
        "bytes": about.get("bytes"),
        "latency": {batch: dict(times) for batch, times in version.latency.items()},
        **{name: getattr(period.entry, name) for name in ("event", "who", "why", "at", "until")},
    }


def _span(period: Period) -> str:
    if period.last is None:
        return f"{period.first} on"
    if period.first == period.last:
        return period.first
    return f"{period.first} to {period.last}" if period.first < period.last else "not a whole day"


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"
