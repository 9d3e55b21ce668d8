"""`recprune run`: a day, several days, a step of a day, a part of a step."""

from typing import Annotated

import typer

from recprune.cli.terminal import Terminal
from recprune.days import days_between, number_of, parse_day, plain_day
from recprune.errors import ExitCode, SettingsError

out = Terminal(soft_wrap=True)


def run(
    day: Annotated[str | None, typer.Option(help="The day to run, YYYY-MM-DD.")] = None,
    only: Annotated[str | None, typer.Option(help="Only this step of the day, as an Airflow task does.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First of several days.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last of several days.")] = None,
    *,
    part: Annotated[
        str | None,
        typer.Option(help="With --only ingest or featurize: do this part of it beforehand, as in 2/4; beside others."),
    ] = None,
) -> None:
    """Run a day, several days, or one step of a day.

    A day that is stored is left alone. After a crash the same command goes on where it was. Several days go
    on past held and quarantined ones and stop at a failure.
    """
    from recprune.cli.summary import expected, show_summary
    from recprune.cli.view import DayView
    from recprune.daily.parts import run_part
    from recprune.daily.run import STEPS, run_day, run_step

    if (day is None) == (first is None or last is None) or (day and (first or last)):
        raise SettingsError("give either --day D, or --from A and --to B.")
    if only is not None and (day is None or only not in STEPS):
        raise SettingsError(f"--only {only} needs --day D and one of these steps: {', '.join(STEPS)}.")
    if part is not None and only is None:
        raise SettingsError(f"--part {part} needs --only ingest or --only featurize.")
    days = [day] if day else list(days_between(str(first), str(last)))
    if not days:
        raise SettingsError(f"--from {first} is after --to {last}; there is no day to run.")
    for each in days:
        if number_of(each) > 1:
            raise SettingsError(
                f"{each} belongs to a replay and is learned with it: recprune replay --from {plain_day(each)}"
            )
        parse_day(each)
    view = DayView(out, len(days))
    if part is not None:
        run_part(days[0], str(only), part, view)
        return
    if only is not None:
        if told := expected(days[0], only):
            out.print(told)
        with view:
            done = run_step(days[0], only, view)
        if done:
            show_summary(out, days[0], only)
        return
    aside = False
    for each in days:
        with view:
            view.day(each)
            outcome = run_day(each, view)
        view.line(outcome)
        aside |= outcome.state.verdict != "passed"
    if aside:
        raise typer.Exit(ExitCode.HELD_OR_QUARANTINED)
