"""`recprune replay`: a past day once more."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from recprune.cli.terminal import Terminal
from recprune.days import parse_day
from recprune.errors import ExitCode, SettingsError

if TYPE_CHECKING:
    from recprune.daily.rebuild import Rebuilt

out = Terminal()
_NAMED = 4
"""Files of an artefact that are named."""


def replay(
    day: Annotated[str, typer.Argument(help="A stored day.")],
    verify: Annotated[bool, typer.Option("--verify", help="Rebuild the day aside and compare every byte.")] = False,
) -> None:
    """Rebuild a past day from its tag, aside, and compare every byte with what was stored.

    Data, vocabulary, masks, weights, scores, model.onnx and verdicts. The same bytes on the same CPU class, threads and
    libraries; elsewhere every NE must be near. Exit code 1 if it is not the same day.
    """
    from recprune.cli.view import DayView
    from recprune.daily.rebuild import rebuild

    parse_day(day)
    if not verify:
        raise SettingsError(f"say what to do with {day}: recprune replay {day} --verify rebuilds and compares it.")
    view = DayView(out, 1)
    with view:
        view.day(day)
        found = rebuild(day, view)
    _show(found)
    if not found.good:
        raise typer.Exit(ExitCode.FAILED)


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
