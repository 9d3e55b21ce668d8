"""`recprune`: the command line."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from recprune import __version__
from recprune.cli import bundle, gates, mask, registry, step
from recprune.cli.backtest import backtest
from recprune.cli.collect import gc
from recprune.cli.late import plan_late
from recprune.cli.replay import replay
from recprune.cli.run import run
from recprune.cli.serve import score, verify
from recprune.cli.simulate import simulate
from recprune.cli.terminal import Terminal
from recprune.days import known_day, parse_day
from recprune.errors import ExitCode, RecpruneError
from recprune.files import free_bytes, is_disk_full
from recprune.printable import told
from recprune.settings import SourceName
from recprune.workspace import room_for_a_day

app = typer.Typer(
    name="recprune",
    help="Keep a click-through-rate model fresh and cheap: daily ingest, validation, warm-start training with an "
    "adapting pruning mask, ONNX export, gates and promotion.\n\nThe current directory is the workspace. Exit codes: "
    "0 done, 1 failed, 2 wrong use, 3 a day was held or quarantined (whole days only).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(step.app, name="step")
app.add_typer(mask.app, name="mask")
app.add_typer(registry.app, name="registry")
app.add_typer(gates.app, name="gates")
app.add_typer(bundle.app, name="bundle")
app.command()(run)
app.command()(backtest)
app.command()(score)
app.command()(replay)
app.command()(gc)
app.command()(plan_late)
app.command()(simulate)
app.command()(verify)
app.command()(bundle.sign)
out = Terminal(soft_wrap=True)

_TIGHT = 65_536
"""Free bytes below which a failure may be one of space."""
STOPPED = 130
"""Exit code after Ctrl-C."""
Why = Annotated[str, typer.Option(help="The reason; it stands in registry/history.jsonl for ever.")]


def main() -> None:
    """Run the command line; an error that is explained ends in one sentence and its exit code."""
    try:
        Path.cwd()
    except FileNotFoundError:
        sys.stderr.write("error: the current directory was removed; go to one that is there: cd DIR\n")
        sys.exit(ExitCode.WRONG_USE)
    try:
        app()
    except RecpruneError as error:
        lines = told(str(error)).split("\n")
        if error.exit_code == ExitCode.FAILED and free_bytes() < _TIGHT and "make room" not in str(error):
            lines.append(_full())  # git and DVC say it in their own words, or not at all
        for line in lines:
            sys.stderr.write(f"error: {line}\n")
        sys.exit(error.exit_code)
    except SystemExit as ended:
        if ended.code == STOPPED:  # what typer makes of Ctrl-C, without a word
            sys.stderr.write("stopped; nothing is lost, the same command goes on from here.\n")
        raise
    except OSError as error:
        sys.stderr.write(f"error: {told(_explain(error))}\n")
        sys.exit(ExitCode.FAILED)


def _explain(error: OSError) -> str:
    where = error.filename or Path.cwd()
    if is_disk_full(error):
        return f"{where} cannot be written: {_full()}"
    return f"{where}: {error.strerror or error}; nothing was half written. Mend it and give the same command again."


def _full() -> str:
    return f"the disk of {Path.cwd()} is full, {free_bytes():,} bytes are free. {room_for_a_day()}"


def _version(asked: bool) -> None:
    if asked:
        out.print(f"recprune {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keep a click-through-rate model fresh and cheap."""
    del version


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="The workspace to make; existing files are kept.")],
    source: Annotated[
        SourceName | None,
        typer.Option(help="Where events come from; default: as in params.yaml."),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="First day to run; default: the source's first day after the history.")
    ] = None,
    history: Annotated[int, typer.Option(min=0, help="Days before it that genesis learns.")] = 0,
    remote: Annotated[
        str | None,
        typer.Option(help="DVC remote (folder or URL, for example s3://…); default: DIRECTORY/remote."),
    ] = None,
    *,
    from_file: Annotated[
        str | None, typer.Option(help="Propose source and schema from this file of yours, then stop for you to edit.")
    ] = None,
) -> None:
    """Make a workspace: git, DVC, settings, genesis (the first champion) and the first plan.

    Without --history genesis is fresh: untrained weights, uniform widths, and the first carving starts on
    the first day. With --history N the N days before --start are learned and the first carving is made.
    """
    import os

    from recprune.cli.view import day_bar
    from recprune.daily.init import first_day, init_workspace, prepare_workspace
    from recprune.lock import hold
    from recprune.serving.signature import check_keys
    from recprune.versioning.remote import check_remote

    if start is not None:
        parse_day(start)
    if remote is not None:
        check_remote(remote)
    check_keys()
    proposal = None
    if from_file is not None:
        from recprune.daily.init import check_proposable
        from recprune.daily.proposal import absolute, propose

        check_proposable(directory, source)
        proposal = propose(absolute(from_file))
    directory.mkdir(parents=True, exist_ok=True)
    os.chdir(directory)
    with hold("workspace", f"recprune init {directory}", wait=False):
        if proposal is not None:
            from recprune.cli.view import show_proposal
            from recprune.daily.init import prepare_proposed

            prepare_proposed(proposal, remote)
            show_proposal(out, directory, proposal.doubts)
            return
        settings = prepare_workspace(source, start, remote)
        begin = first_day(settings, start, history)
        with day_bar(out, f"genesis: learning {history} days before {begin}") as progress:
            day, new = init_workspace(settings, begin, history, progress)
    what = "is a new workspace" if new else "is a workspace already and was left as it is"
    out.print(f"{directory} {what}; its first day is {day}. Next: recprune run --day {day}")


@app.command()
def fetch(
    day: Annotated[str, typer.Argument(help="A stored day.")],
    inputs: Annotated[
        bool, typer.Option("--inputs", help="What it read of other days instead, where that is not here.")
    ] = False,
) -> None:
    """Bring a stored day's artefacts into place, from DVC's cache or remote, replacing what is there.

    In a clone at the day's tag, after `dvc pull`, --inputs brings what `dvc repro` and `dvc exp run` need besides.
    """
    from recprune.daily.fetch import fetch_day, fetch_inputs
    from recprune.lock import hold

    date = known_day(day)

    with hold("workspace", f"recprune fetch {day}", wait=False):
        paths = (fetch_inputs if inputs else fetch_day)(date, out.print)
    told = f"{len(paths)} artefacts that it read of other days" if inputs else f"{len(paths)} artefacts"
    out.print(f"{day}: {told} are in place as they were stored.")


@app.command()
def rollback(
    why: Why,
    to: Annotated[str | None, typer.Option(help="Day of an earlier champion; default: the one before.")] = None,
) -> None:
    """Let an earlier champion serve again, at once, also while a day runs. Later days must pass against it."""
    from recprune.daily.run import refresh_report
    from recprune.steps.promote import rollback as roll_back

    target = roll_back(to, why)
    out.print(f"{target} serves again: bundles/{target}. Later days are compared with it.")
    refresh_report()


@app.command()
def status(last: Annotated[int, typer.Option(min=1, help="Days to show, the last ones.")] = 30) -> None:
    """Show the last days, their verdicts, the champion and the lineage."""
    from recprune.cli.view import show_status

    show_status(out, last)


@app.command()
def report() -> None:
    """Render reports/index.html and a page per day; opens without internet."""
    from recprune.daily.run import write_report

    out.print(f"The report is at {write_report().resolve()}")


@app.command()
def doctor(
    mend: Annotated[
        bool, typer.Option("--repair", help="Do what is safe, and say what was done and what not.")
    ] = False,
) -> None:
    """Check versions, workspace, remote, locks and artefacts; each finding with its remedy. Changes nothing.

    With --repair stored artefacts, plans and reports come back as they were stored, the pointer follows the history,
    and what killed processes left is removed. What was there is kept in scratch/damaged; what has no other copy stays.
    """
    from recprune.daily.doctor import examine
    from recprune.daily.repair import repair
    from recprune.lock import hold

    if mend:
        with hold("workspace", "recprune doctor --repair", wait=False), hold("step", "recprune doctor", wait=False):
            for line in repair():
                out.print(f"repair: {line}")
    findings = examine()
    for finding in findings:
        mark, style = {"good": ("✓", "green"), "bad": ("✗", "red"), "note": ("·", "")}[finding.kind]
        out.print(Text.assemble((mark, style), " ", finding.text))
    if any(finding.kind == "bad" for finding in findings):
        raise typer.Exit(ExitCode.FAILED)
