"""`recprune plan-late`: what a source has changed of a stored day, and what to do about it."""

from typing import TYPE_CHECKING, Annotated

import typer

from recprune.cli.terminal import Terminal
from recprune.days import parse_day
from recprune.errors import SettingsError
from recprune.report import formats

if TYPE_CHECKING:
    from recprune.daily.late import LatePlan

out = Terminal()


def plan_late(
    day: Annotated[str, typer.Argument(help="A stored day.")],
    ignore: Annotated[bool, typer.Option("--ignore", help="Leave it as it was learned; needs --why.")] = False,
    correct: Annotated[
        bool, typer.Option("--correct", help="Let the next day learn the changed rows besides its own.")
    ] = False,
    why: Annotated[str, typer.Option(help="Goes into the history.")] = "",
) -> None:
    """Compare a stored day with what its source delivers now: rows, stale days, and what each choice costs.

    Nothing that is stored changes. Until something is chosen, `recprune status` marks the stale days.
    """
    from recprune.daily.late import choose
    from recprune.daily.late import plan_late as plan
    from recprune.daily.run import refresh_report

    parse_day(day)
    if ignore and correct:
        raise SettingsError("choose one: --ignore, or --correct.")
    if ignore or correct:
        chosen = choose(day, "ignore" if ignore else "correct", why)
        told = "is left as it was learned" if ignore else "will be corrected: the next day learns the changed rows too"
        out.print(f"{chosen.day} {told}.", soft_wrap=True)
    else:
        _show(plan(day, out.print))
    refresh_report()


def _show(found: "LatePlan") -> None:
    day = found.amended.day
    if found.amended.is_none:
        out.print(f"{day}: the source delivers what it did; nothing is stale.", soft_wrap=True)
        return
    out.print(f"{day} was amended since it was stored: {found.amended.describe()}.", soft_wrap=True)
    if found.choice is not None and found.choice.choice != "found":
        out.print(f"Chosen already: {found.choice.choice} ({found.choice.told}).", soft_wrap=True)
    stale = f"{len(found.stale)}: {', '.join(found.stale)}" if found.stale else "none"
    out.print(f"Later days that learned from it as it was: {stale}.", soft_wrap=True)
    out.print(_trial(found), soft_wrap=True)
    took = "unknown" if found.seconds is None else f"about {formats.lasting(found.seconds)}"
    _choice("Ignore it (takes nothing): what was learned stays.", f'recprune plan-late {day} --ignore --why "..."')
    if found.amended.problems:
        return
    learned = found.amended.added + found.amended.changed
    gone = " Rows that went stay learned." if found.amended.gone else ""
    _choice(
        f"Correct it (takes seconds): the next day learns {learned:,} rows more, as they are now.{gone}",
        f"recprune plan-late {day} --correct",
    )
    _choice(
        f"Replay it (takes {took}): every day from it on is learned once more, as a revision, which serves if it "
        "passes its gate.",
        f"recprune replay --from {day} --amended {day}",
    )


def _choice(what: str, command: str) -> None:
    out.print(what, soft_wrap=True)
    out.print(f"  {command}", soft_wrap=True)


def _trial(found: "LatePlan") -> str:
    """Say what is at stake, as a trial with the served line tells."""
    trial = found.trial
    if trial is None or trial.first is None or trial.second is None:
        return f"NE at stake: unknown ({found.trial_on if trial is None else 'not defined on the rows that follow'})."
    told = f"NE {found.trial_on}, {trial.rows:,} rows: {trial.first:.4f} had it learned the day as it is now, "
    told += f"{trial.second:.4f} as it was"
    low, high, difference = trial.paired.low, trial.paired.high, trial.paired.difference
    if low is None or high is None or difference is None:
        return f"{told}; too few rows for an interval."
    return f"{told} ({100 * difference:+.2f} %, 95 % interval {100 * low:+.2f} to {100 * high:+.2f} %)."
