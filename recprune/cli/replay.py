"""`recprune replay`: a past day once more, to verify it, or days from there on without what was wrong."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from recprune.cli.terminal import Terminal
from recprune.days import known_day, parse_day
from recprune.errors import ExitCode, SettingsError

if TYPE_CHECKING:
    from recprune.daily.rebuild import Rebuilt

out = Terminal()
_NAMED = 4
"""Files of an artefact that are named."""


def replay(
    day: Annotated[str | None, typer.Argument(help="A stored day, with --verify.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Rebuild the day aside and compare every byte.")] = False,
    first: Annotated[str | None, typer.Option("--from", help="First day to learn once more.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Stop after this day; nothing is adopted then.")] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="What to leave out: DAY[:HOUR][:COLUMN=VALUE]; may be given again.")
    ] = None,
    amended: Annotated[
        list[str] | None, typer.Option(help="A day to read from the source again; may be given again.")
    ] = None,
    why: Annotated[str, typer.Option(help="Goes into the history.")] = "",
    drop: Annotated[bool, typer.Option("--drop", help="End the open replay; nothing goes on from its days.")] = False,
) -> None:
    """Rebuild a past day to verify it, or learn past days once more without what was wrong.

    DAY --verify rebuilds a day from its tag, aside: data, vocabulary, masks, weights, scores, model.onnx and verdicts
    are the same bytes on the same CPU class, threads and libraries; elsewhere every NE must be near.

    --from DAY learns the days from there on once more, in order, as revisions (DAY.r2): what is stored does not change,
    and the champion serves on. The last one meets the champion; if it passes its gate it serves, and later days go on
    from it. Killed, the same command goes on. Exit code 3 if it did not pass.
    """
    if drop and not (day or verify or first or to or without or amended):
        _drop(why)
    elif verify and day is not None and not (first or to or without or amended or drop):
        _verify(known_day(day))
    elif first is not None and day is None and not (verify or drop):
        _again(first, to, (tuple(without or ()), tuple(amended or ())), why)
    else:
        told = f"{day} " if day else ""
        raise SettingsError(
            f"say what to do: recprune replay {told or 'DAY '}--verify rebuilds and compares a day; "
            "recprune replay --from DAY learns it and the days after it once more; recprune replay --drop ends the "
            "open replay."
        )


def _verify(day: str) -> None:
    from recprune.cli.view import DayView
    from recprune.daily.rebuild import rebuild

    view = DayView(out, 1)
    with view:
        view.day(day)
        found = rebuild(day, view)
    _show(found)
    if not found.good:
        raise typer.Exit(ExitCode.FAILED)


def _again(first: str, to: str | None, what: tuple[tuple[str, ...], tuple[str, ...]], why: str) -> None:
    from recprune.cli.view import DayView
    from recprune.daily.replay import compare, replay
    from recprune.daily.replay_asked import Asked
    from recprune.daily.run import run_day
    from recprune.registry.history import current

    view = DayView(out, 2)

    def run(day: str) -> None:
        with view:
            view.day(day)
            outcome = run_day(day, view)
        view.line(outcome)

    found = replay(Asked(first, *what, why), parse_day(to).isoformat() if to else None, run)
    if found.final:
        ne = compare(found.final)
        told = ", ".join(f"{name} {value:.4f}" for name, value in ne.items() if value is not None)
        out.print(f"NE on the tail of {found.final}, which neither has learned: {told}", soft_wrap=True)
    if found.revision.state == "adopted":
        serves = current() == found.final
        now = "It serves, and later days go on from it." if serves else f"Later days go on from it; {current()} serves."
        out.print(f"Replay {found.revision.describe()} is adopted: {found.revision.told}. {now}", soft_wrap=True)
    elif found.revision.state == "dropped":
        out.print(f"Replay {found.revision.describe()} is not adopted: {found.revision.told}", soft_wrap=True)
        raise typer.Exit(ExitCode.HELD_OR_QUARANTINED)
    else:
        out.print(
            f"Replay {found.revision.describe()} is open, {_left(len(found.open_days))} left: give the command again "
            "without --to to go on, or end it with: recprune replay --drop",
            soft_wrap=True,
        )


def _left(days: int) -> str:
    return "1 day is" if days == 1 else f"{days} days are"


def _drop(why: str) -> None:
    from recprune.daily.replay import drop

    out.print(f"Replay {drop(why).describe()} is dropped: nothing goes on from its days.", soft_wrap=True)


def _show(found: "Rebuilt") -> None:
    table = Table("artefact", "files", "bytes", title=f"{found.day}, rebuilt from its tag")
    for each in found.compared:
        more = len(each.different) - _NAMED
        named = ", ".join(each.different[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        table.add_row(each.path, f"{each.files:,}", f"other: {named}" if named else "the same")
    out.print(table)
    for name, (stored, rebuilt) in found.ne.items():
        if stored != rebuilt:
            out.print(f"NE, {name}: {stored:.8f} stored, {rebuilt:.8f} rebuilt")
    for line in found.elsewhere:
        out.print(f"Made elsewhere: {line}")
    out.print(_sentence(found), soft_wrap=True)


def _sentence(found: "Rebuilt") -> str:
    """Say whether it is the same day, and if not, what differs first and where to look."""
    from recprune.daily.rebuild import TOLERANCE

    first = found.first_difference
    files = sum(each.files for each in found.compared)
    if first is None:
        return f"{found.day} is verified: {len(found.compared)} artefacts, {files:,} files, the same bytes."
    where = f"Both lie in {found.folder} (stored, rebuilt)."
    if found.good:
        return (
            f"{found.day} is verified elsewhere: the same rows, every NE within {100 * TOLERANCE:g} %; other bytes, "
            f"as another CPU, thread count or library gives. {where}"
        )
    if not found.same_data:
        return f"{found.day} is not the same day: its source does not deliver what it delivered then. {where}"
    return (
        f"{found.day} is not the same day: {first.path} is the first artefact that differs, and what follows was made "
        f"from it. {where}"
    )
