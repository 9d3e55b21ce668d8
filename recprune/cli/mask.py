"""`recprune mask`: which groups the served network has on a day, and what changed; from `reports/{day}/prune.json`."""

from typing import Annotated, Any

import typer
from rich.table import Table

from recprune.cli.terminal import Terminal
from recprune.days import known_day
from recprune.errors import DamagedArtefactError, RecpruneError, SettingsError
from recprune.files import read_json
from recprune.pruning.churn import Difference, churn, difference, inputs_per_vector
from recprune.pruning.ledger import Mask, day_masks
from recprune.report import words
from recprune.workspace import REPORTS, day_state, is_quarantined, report_path

app = typer.Typer(
    help="Show which groups of the dense network are served, and how that changed. "
    "Needs the days' prune.json alone, which git keeps.",
    no_args_is_help=True,
)
out = Terminal()

Day = Annotated[str, typer.Argument(help="A day that was pruned, YYYY-MM-DD.")]


@app.command()
def show(day: Day) -> None:
    """Show the served mask after a day, and what the day changed."""
    pruned = read_day(day)
    before, after = read_masks(day, pruned)
    changed = difference(before, after)
    out.print(f"The served mask after {day}: {_kept(after)}. {_today(pruned['churn'])}", soft_wrap=True)
    out.print(_layers(changed, after, f"before {day}", "after"))
    out.print("\nFeatures read")
    out.print(_read(after))
    _print_features(changed, f"What {day} changed")


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="DAY1", help="The earlier day.")],
    second: Annotated[str, typer.Argument(metavar="DAY2", help="The later day.")],
) -> None:
    """Compare the served masks after two days: layers, inputs by feature, and what was decided in between.

    Jaccard similarity is the share of the groups kept on either day that is kept on both.
    """
    if known_day(first) > known_day(second):
        raise SettingsError(
            f"{first} is after {second}; give the earlier day first: recprune mask diff {second} {first}"
        )
    masks = [read_masks(day, read_day(day))[1] for day in (first, second)]
    try:
        changed = difference(*masks)
    except ValueError as error:
        raise SettingsError(
            f"the masks after {first} and {second} are of different dense networks and cannot be compared: {error}."
        ) from None
    share = 100 * churn(changed.kinds.values())
    out.print(
        f"The served mask after {first} and after {second}: {share:.1f} % of the groups kept on either day changed.",
        soft_wrap=True,
    )
    out.print(_layers(changed, masks[1], first, second))
    _print_features(changed, "Inputs that came and went, by feature")
    told = decisions(first, second)
    out.print("\nDecided in between" if told else "\nNothing was decided in between.")
    for line in told:
        out.print(f"  {line}", soft_wrap=True)


def read_day(day: str) -> dict[str, Any]:
    """Read what `prune` reported of a day.

    Raises:
        SettingsError: the day was not pruned; says which were.
        RecpruneError: the day is quarantined.
    """
    known_day(day)
    if is_quarantined(day):
        raise RecpruneError(
            f"{day} has no mask: {day_state(day).sentence} Nothing was pruned; the mask is that of the last day before."
        )
    if not report_path(day, "prune").exists():
        raise SettingsError(f"{day} has no mask: {report_path(day, 'prune')} is not there. {_which()}")
    return dict(read_json(report_path(day, "prune")))


def read_masks(day: str, pruned: dict[str, Any]) -> tuple[Mask, Mask]:
    """Return the served masks before and after a day.

    Raises:
        RecpruneError: the report has none.
        DamagedArtefactError: it has a damaged one.
    """
    file = report_path(day, "prune")
    if "mask" not in pruned:
        raise RecpruneError(f"{file} has no mask: an earlier version of recprune wrote it, and it is never rewritten.")
    try:
        return day_masks(pruned)
    except (ValueError, TypeError, KeyError) as error:
        told = f"{file} is damaged: {error}; bring the stored one back with: git checkout day/{day} -- {file}"
        raise DamagedArtefactError(told) from None


def pruned_days() -> list[str]:
    """Return the days that have a prune.json, in order."""
    return sorted(path.parent.name for path in REPORTS.glob("*/prune.json"))


def _which() -> str:
    days = pruned_days()
    if not days:
        return "No day here has one; run a day first, or go to a workspace."
    few = ", ".join(days) if len(days) <= 5 else f"{len(days)} days from {days[0]} to {days[-1]}"
    return f"Days that have one: {few}."


def decisions(first: str, second: str) -> list[str]:
    """Return what was decided after the first day, up to the second: carvings, takeovers, restarts."""
    told: dict[str, None] = {}
    for day in [day for day in pruned_days() if first < day <= second]:
        pruned = read_json(report_path(day, "prune"))
        if pruned.get("churn", {}).get("restarted"):
            told[f"{day}: the served line restarted from the champion"] = None
        told |= dict.fromkeys(line for line in pruned["decisions"] if first < line.partition(":")[0] <= second)
    return sorted(told, key=lambda line: line.partition(":")[0])


def _kept(mask: Mask) -> str:
    kept = sum(len(numbers) for numbers in mask.kept.values())
    return f"{kept} of {sum(mask.dense.values())} groups kept"


def _today(changed: dict[str, Any]) -> str:
    told = f"The day changed {100 * changed['overall']:.1f} % of it"
    told += ": a challenger took over" if changed["takeover"] else ""
    return f"{told}. It started from the champion's mask." if changed["restarted"] else f"{told}."


def _layers(changed: Difference, mask: Mask, first: str, second: str) -> Table:
    table = _table()
    table.add_column("groups")
    for heading in (first, second, "dense", "Jaccard", "came", "went"):
        table.add_column(heading, justify="right")
    for kind, c in changed.kinds.items():
        counts = [str(n) for n in (c.before, c.after, mask.dense[kind])]
        table.add_row(words.layer(kind), *counts, f"{c.jaccard:.3f}", str(c.came), str(c.went))
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))


def _read(mask: Mask) -> Table:
    """List how many of its inputs each feature has; a pair counts with both of its features."""
    counts, features = inputs_per_vector(mask), len(mask.vectors)
    columns = inputs_per_vector(mask, pairs=False)
    has_pairs = mask.dense["inputs"] > features * mask.embedding
    table = _table()
    table.add_column("feature")
    table.add_column(f"columns of {mask.embedding}", justify="right")
    if has_pairs:
        table.add_column(f"pairs of {features - 1}", justify="right")
    for vector in sorted(range(features), key=lambda v: -counts[v]):
        read = vector in mask.kept["vectors"]
        pairs = [str(counts[vector] - columns[vector])] if has_pairs else []
        table.add_row(mask.vectors[vector] + ("" if read else " (not read)"), str(columns[vector]), *pairs)
    return table


def _print_features(changed: Difference, title: str) -> None:
    if not changed.features:
        out.print(f"\n{title}: no input came or went.")
        return
    out.print(f"\n{title}")
    table = _table()
    for heading in ("feature", "inputs", "came", "went"):
        table.add_column(heading, overflow="fold")
    for feature in changed.features:
        name = feature.name + ("" if feature.fate == "changed" else f" ({feature.fate})")
        table.add_row(name, f"{feature.before} → {feature.after}", str(feature.came), str(feature.went))
    out.print(table)
    out.print(
        "[3] is a column of the feature's vector, × its pair with another feature, listed with both.", soft_wrap=True
    )
