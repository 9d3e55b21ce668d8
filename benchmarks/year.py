"""A year of real days through every step, in one process: what the report looks like after it, and what a year does.

Use: `python -m benchmarks.year WORKSPACE [LAST]`; the same command goes on from where it was stopped.

Complete Journey, 2017, with the demo's settings. Every step is the command of `dvc.yaml`, called as a function, so that
a day costs its computing and no starts; days are committed and tagged, and nothing is stored by DVC.
"""

import shlex
import sys
from contextlib import chdir
from pathlib import Path

import yaml

from recprune.cli.main import app
from recprune.days import days_between
from recprune.steps.store import IN_GIT, write_curve
from recprune.versioning import git
from recprune.versioning.pipeline import QUARANTINED_STAGES, STAGES
from recprune.workspace import day_state, is_quarantined

FIRST, LAST = "2017-01-29", "2017-12-30"


def main() -> None:
    """Run the days that are not stored yet, then render the report."""
    workspace, last = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else LAST
    if not (workspace / "plans").exists():
        recprune("init", str(workspace), "--source", "complete-journey", "--history", "28", "--start", FIRST)
    with chdir(workspace):
        stored = git.stored_days()
        for day in days_between(FIRST, last):
            if day not in stored:
                run_day(day)
        for times in Path(".recprune/times").glob("*"):  # of two of a day's steps, as the others were called
            times.unlink()
        recprune("report")


def run_day(day: str) -> None:
    """Take a day through its steps."""
    recprune("run", "--day", day, "--only", "plan")
    for step in QUARANTINED_STAGES:
        run_stage(step)
    if not is_quarantined(day):
        for step in STAGES[len(QUARANTINED_STAGES) :]:
            run_stage(step)
    state = day_state(day)
    write_curve()
    git.commit(IN_GIT, f"Day {day}: {state.verdict}")
    git.tag(day)
    if state.verdict == "passed":
        recprune("run", "--day", day, "--only", "promote")
    sys.stdout.write(f"{state.sentence}\n")


def run_stage(name: str) -> None:
    """Call a stage's command, its variables filled in from day.yaml."""
    command = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][name]["cmd"]
    for variable, value in yaml.safe_load(Path("day.yaml").read_text(encoding="utf-8")).items():
        command = command.replace(f"${{{variable}}}", value)
    recprune(*shlex.split(command)[1:])


def recprune(*arguments: str) -> None:
    """Call the command line in this process."""
    app(arguments, standalone_mode=False)


if __name__ == "__main__":
    main()
