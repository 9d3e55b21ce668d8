"""`recprune gates`: why a day was promoted or held, and what other rules would have said."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from recprune.cli.terminal import Terminal
from recprune.config import read_yaml
from recprune.days import days_between, known_day, parse_day
from recprune.errors import RecpruneError, SettingsError
from recprune.files import read_json, to_json
from recprune.gating.limits import changed_limits
from recprune.registry.forced import ended_by, forced
from recprune.registry.history import read_history
from recprune.report import formats
from recprune.settings import read_settings
from recprune.workspace import day_state, report_path

if TYPE_CHECKING:
    from recprune.gating.replay import Replayed

app = typer.Typer(help="Show why a day was promoted or held, and try other rules on past days.", no_args_is_help=True)
out = Terminal()
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
COLOURS = {"passed": "green", "failed": "red", "held": "red", "warned": "yellow", "undecided": "yellow"}


@app.command()
def explain(
    day: Annotated[str, typer.Argument(help="A day that reached its gate, YYYY-MM-DD.")], as_json: Json = False
) -> None:
    """Show a day's rules: verdict, value, interval, limit, room left, smallest difference that could have been seen."""
    file = report_path(known_day(day), "gate")
    if not file.exists():
        state = day_state(day)
        raise RecpruneError(f"{day} has not reached its gate: {state.sentence or 'it was not run to the end.'}")
    found, history = read_json(file), read_history()
    by_force = forced(history, known_day(day))
    if as_json:
        sys.stdout.write(to_json({**found, "forced": [asdict(entry) for entry in by_force]}))
        return
    out.print(found["sentence"], soft_wrap=True)
    for entry in by_force:
        who = f"by {entry.who or 'unknown'} at {entry.at}"
        over = ended_by(history, entry)
        after = f". It ended on {over.day}: {over.reason()}." if over else ""
        out.print(f"Promoted by force until {entry.until}, {who}: {entry.why}{after}", soft_wrap=True)
    table = Table(Column("rule", no_wrap=True), box=None, pad_edge=False)
    for name in ("verdict", "value", "interval", "limit", "room left", "could see"):
        table.add_column(name)
    for rule in found["rules"]:
        numbers = [formats.general(rule[key]) for key in ("value", "limit", "distance", "detectable")]
        value, limit, distance, detectable = numbers
        table.add_row(rule["name"], _coloured(rule["verdict"]), value, _interval(rule), limit, distance, detectable)
    out.print(table)
    for rule in found["rules"]:
        if rule["verdict"] != "passed":
            out.print(f"{rule['name']}: {rule['reason']}.", soft_wrap=True)


@app.command()
def force(
    day: Annotated[str, typer.Argument(help="A held day, YYYY-MM-DD.")],
    why: Annotated[str, typer.Option(help="The reason; it stands in registry/history.jsonl for ever.")],
    until: Annotated[str, typer.Option(help="Last day that it serves, 30 days after it at most.")],
) -> None:
    """Let a held day serve although it was held, until a day; then the champion of before serves again.

    What was not finite, takes other inputs or differs from torch is never promoted.
    """
    from recprune.daily.run import refresh_report
    from recprune.steps.promote import force as promote_by_force

    held, last = (parse_day(each).isoformat() for each in (day, until))
    promote_by_force(held, why, last)
    out.print(f"{held} serves by force until {last}: bundles/{held}. Later days are compared with it.", soft_wrap=True)
    refresh_report()


@app.command()
def replay(
    first: Annotated[str, typer.Option("--from", help="First day.")],
    last: Annotated[str, typer.Option("--to", help="Last day.")],
    changes: Annotated[Path, typer.Option("--with", help="YAML with the limits that change; others stay.")],
    as_json: Json = False,
) -> None:
    """Judge past days under other rules: which promotions would flip.

    Each candidate meets the champion that it met; that a flip would have changed the champion of later days is not
    followed. Nothing is changed. Days without a gate are left out and named.
    """
    from recprune.gating.replay import replay as judge_again

    settings = changed_limits(read_settings(Path()).gate, read_yaml(changes), str(changes))
    days = list(days_between(parse_day(first).isoformat(), parse_day(last).isoformat()))
    judged = [day for day in days if report_path(day, "gate").exists()]
    if not judged:
        raise SettingsError(f"no day from {first} to {last} has reached its gate here.")
    found, aside = judge_again(judged, settings), sorted(set(days) - set(judged))
    if as_json:
        sys.stdout.write(to_json({"days": [each.to_json() for each in found], "without_a_gate": aside}))
        return
    table = Table("day", "was", "would be", "rules that change", box=None, pad_edge=False)
    for each in [each for each in found if each.flips or each.changes()]:
        table.add_row(each.day, *_verdicts(each), "; ".join(each.changes()))
    if table.row_count:
        out.print(table)
    flips = [each for each in found if each.flips]
    out.print(f"{len(flips)} of {len(found)} verdicts would flip.")
    for each in flips:
        out.print(each.would_be["sentence"], soft_wrap=True)
    if aside:
        out.print(f"Without a gate: {', '.join(aside)}", soft_wrap=True)


def _verdicts(each: "Replayed") -> tuple[Text, Text]:
    return _coloured(each.was["verdict"]), _coloured(each.would_be["verdict"])


def _coloured(verdict: str) -> Text:
    return Text(verdict, COLOURS.get(verdict, ""))


def _interval(rule: dict[str, Any]) -> str:
    if not rule["interval"]:
        return formats.NONE
    return " to ".join(formats.general(end) for end in rule["interval"])
