"""`recprune gc`: free the disk of old days."""

from typing import Annotated

import typer

from recprune.cli.terminal import Terminal
from recprune.report import formats

out = Terminal(soft_wrap=True)
_NAMED = 5
"""Things that stay and are named."""


def gc(
    keep: Annotated[int, typer.Option(min=1, help="Days to keep, and versions that served.")] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Free the disk of old days: their folders, and their objects in DVC's cache, if DVC's remote has every byte.

    Revisions go with the days that they revise. Never removed: the newest days, the last versions that served, the
    champion's day, what the next day and an open replay read, and what is not stored; nor anything of the remote, of
    git, plans or reports. recprune fetch DAY brings a day back, recprune fetch DAY.r2 a revision.
    """
    from recprune.daily.collect import collect, survey
    from recprune.daily.run import working
    from recprune.lock import hold
    from recprune.steps.store import refuse_source_repository

    refuse_source_repository()
    command = f"recprune gc --keep {keep}"
    with working(command), hold("replay", command, wait=False):
        found = survey(keep)
        for line in found.left[:_NAMED]:
            out.print(f"stays: {line}")
        if (more := len(found.left) - _NAMED) > 0:
            out.print(f"stays: {more:,} more")
        folders, cached, notes = (formats.size(size) for size in found.sizes())
        days = found.days
        span = f" of {len(days):,} day{'' if len(days) == 1 else 's'}, {days[0]} to {days[-1]}" if days else ""
        out.print(
            f"{len(found.artefacts):,} folders{span} ({folders}) and {len(found.cached):,} files of DVC's cache "
            f"({cached}) {'would go' if dry_run else 'go'}; DVC's remote has each."
        )
        if found.notes:
            out.print(f"{len(found.notes):,} notes of steps that ran ({notes}) {'would go' if dry_run else 'go'} too.")
        if not dry_run:
            collect(found, keep)
    if not dry_run and days:
        out.print(f"They are gone. To bring a day back: recprune fetch {days[-1]}")
