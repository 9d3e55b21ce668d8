"""Run a day, or one step of it: lock, plan, digests, DVC, verdict, store, promote, report."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recprune.daily.corrections import with_corrections
from recprune.daily.fetch import fetch_missing
from recprune.daily.suspicion import plan_with_trials
from recprune.daily.timed import Listener, Timed
from recprune.days import number_of
from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import free_bytes, sha256
from recprune.lock import hold
from recprune.progress import MARK, NOTE
from recprune.registry.forced import champion_of_before, has_expired
from recprune.registry.history import current, read_history
from recprune.registry.revisions import adopted_before
from recprune.serving.signature import check_keys
from recprune.settings import Settings, TrainSettings, read_settings
from recprune.steps import plan as planning
from recprune.steps.promote import expire, finish, promote
from recprune.steps.store import refuse_source_repository, store
from recprune.versioning import dvc, git
from recprune.versioning.mend import mend
from recprune.versioning.pipeline import STAGES, day_of, foreign_inputs
from recprune.workspace import (
    PLANS,
    REPORTS,
    DayState,
    day_state,
    genesis_day,
    is_quarantined,
    plan_path,
    planned_days,
    read_plan,
    room_for_a_day,
)

STEPS = ("plan", *STAGES, "store", "promote", "report")
"""Every step of a day, in order."""

_RUNNING = re.compile(r"Running stage '([a-z]+)'")
_ERROR = "error: "
_TIGHT = 1_000_000
_LEARNING = ("train", "prune")
"""Free bytes below which a failure that DVC does not explain is one of space."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a day ended."""

    state: DayState
    new: bool
    """False if it was stored before and nothing was done."""


@contextmanager
def working(command: str, *, wait: Literal[False, "for the same"] = False) -> Iterator[int]:
    """Hold the workspace, wait for a step that a killed command left, and finish what it left half done."""
    with hold("workspace", command, wait=wait) as handle:
        with hold("step", command, wait=True):
            pass
        mend()
        if not git.is_source_repository():
            _finish_last_day()
        yield handle


def run_day(day: str, listener: Listener) -> Outcome:
    """Take a day through every step; a stored day is left alone.

    Raises:
        RecpruneError: a step failed; what was done before is kept and the same command goes on from there.
    """
    refuse_source_repository()
    settings = read_settings(Path())
    check_keys()
    with working(f"recprune run --day {day}") as handle:
        if day > genesis_day() and day in git.stored_days():
            _say_stored(day, listener)
            if not _is_reported(day):  # killed between the promotion and its page
                write_report()
            return Outcome(day_state(day), new=False)
        check_machine(settings.train)
        with Timed(day, listener) as timed:
            timed.step("plan")
            _plan(day, settings, timed)
            reproduce(day, ["validate"], handle, timed)
            if not is_quarantined(day):
                reproduce(day, [], handle, timed)
            timed.step("store")
            store(day=day)
            state = day_state(day)
            if state.verdict == "passed" and number_of(day) == 1:  # a replay is promoted as a whole
                timed.step("promote")
                _promote(day, timed)
        listener.step("report")  # not timed: it tells the times
        write_report()
        return Outcome(state, new=True)


def run_step(day: str, step: str, listener: Listener) -> bool:
    """Do one step of a day, as an Airflow task does; returns False if the day is stored and was left alone."""
    settings = read_settings(Path())
    # A scheduler whose worker was killed starts the task again, although its command may work on.
    with working(f"recprune run --day {day} --only {step}", wait="for the same") as handle:
        stored = not git.is_source_repository() and day in git.stored_days()
        if step == "report":  # not timed: it tells the times
            write_report()
            return True
        if stored and step != "promote":
            _say_stored(day, listener)
            return False
        with Timed(day, listener, step) as timed:
            if step not in STAGES:
                timed.begin(step)
            if step == "promote":
                _promote(day, timed)
            elif step == "plan":
                _plan(day, settings, timed)
            elif step == "store":
                store(day=day)
            else:  # the stage begins when DVC says so: if nothing changed, it does not
                _restore_plan(day, settings)
                if step in _LEARNING:
                    check_machine(settings.train)
                reproduce(day, ["--single-item", step], handle, timed)
    return True


def check_machine(train: TrainSettings) -> None:
    """Check that this machine has what the lines are to learn with.

    A step that is started by DVC can tell only that it failed: what no retry mends is refused before.

    Raises:
        SettingsError: it has not what `device` or `precision` asks for.
    """
    if train.device == "cuda" or train.precision != "fp32":
        from recprune.model.device import environment_of  # torch takes seconds to import

        environment_of(train)


def write_report() -> Path:
    """Render the report of all days; returns its path."""
    from recprune.steps.report import report

    genesis_day()  # raises outside a workspace
    return report()


def refresh_report() -> None:
    """Render the report once what serves has changed; what fails is said, and changes nothing of that."""
    try:
        write_report()
    except (RecpruneError, OSError) as error:
        sys.stderr.write(f"warning: the report could not be written: {error}. Once that is mended: recprune report\n")


def _is_reported(day: str) -> bool:
    from recprune.steps.report import is_reported

    return is_reported(day)


def _plan(day: str, settings: Settings, listener: Listener) -> None:
    _end_force(day, listener)
    stored = git.stored_days()
    _check_reports(day)
    found = plan_with_trials(day, settings, stored, listener.say)
    found = with_corrections(found, settings, listener.say)
    planning.restore_day(found)
    fetch_missing(foreign_inputs(found), listener.say)
    found = planning.with_change(found, settings)
    planning.keep_digests(found)
    planning.check_digests(read_plan(day))
    if found["restart"]:
        listener.say(f"{day}: the served line restarts from champion {found['champion']}: {found['restart']}")
    if found.get("no_restart"):
        listener.say(f"{day}: {found['no_restart']}")
    if found["change"]:
        listener.say(f"{day} continues {found['parent']} with changes. {'; '.join(found['change']['sentences'])}.")


def _check_reports(day: str) -> None:
    """Raise if a plan or report of a day before is not as it was stored: a verdict could be another one.

    Artefacts have manifests; these are plain JSON, of which git keeps what was stored.
    """
    if git.is_source_repository():
        return
    wrong = [path for path in git.changed(str(PLANS), str(REPORTS)) if day_of(path) < day]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DamagedArtefactError(
            f"{wrong[0]}{more} is not as it was stored, and {day} would be planned from it. Bring back what was stored "
            "with: recprune doctor --repair (what lies there now is kept)"
        )


def _restore_plan(day: str, settings: Settings) -> None:
    if not plan_path(day).exists():
        raise RecpruneError(f"{day} has no plan yet; make it with: recprune run --day {day} --only plan")
    found = read_plan(day)
    planning.restore_day(found)
    planning.check_digests(found)
    planning.check_change(found, settings)


def reproduce(day: str, arguments: list[str], handle: int, listener: Listener) -> None:
    """Run `dvc repro` and tell how it goes on.

    Raises:
        RecpruneError: a step failed; holds what it said, and the day's log.
    """
    hearing = _Hearing(listener)
    log = Path(".recprune/logs") / f"{day}.log"
    if not dvc.repro(arguments, hearing.hear, [handle], log):
        told = "\n".join(hearing.errors) or f"{hearing.stage or 'dvc'} failed: {hearing.last}"
        if not hearing.errors and free_bytes() < _TIGHT:
            told = (
                f"{hearing.stage or 'dvc'} failed: the disk of {Path.cwd()} is full, {free_bytes():,} bytes are free. "
            )
            told += room_for_a_day()
        raise RecpruneError(f"{told}\n{day} stopped in {hearing.stage or 'dvc repro'}; nothing is lost. Its log: {log}")


class _Hearing:
    """Turns what DVC and the steps print into steps, progress and errors."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.stage = ""
        self.last = ""
        self.errors: list[str] = []

    def hear(self, line: str) -> None:
        if found := _RUNNING.match(line):
            self.stage = found.group(1)
            self.listener.step(self.stage)
        elif line.startswith(MARK) and len(line.split()) > 2:
            *_, done, total = line.split()
            if done.isdecimal() and total.isdecimal():
                self.listener.progress(int(done), int(total))
        elif line.startswith(_ERROR):
            self.errors.append(line.removeprefix(_ERROR))
        elif line.startswith(NOTE):
            self.listener.say(line.removeprefix(NOTE).rstrip())
        elif line.strip() and not line.startswith("ERROR: failed to reproduce"):
            self.last = line.strip()


def _promote(day: str, listener: Listener) -> None:
    _end_force(day, listener)
    if promote(day=day):
        return
    if current() == day:  # a command that came before this one finished the day
        listener.say(f"{day} serves since it was stored; nothing to do.")
        return
    champion = read_plan(day)["champion"]
    listener.say(f"{day} is not promoted: it was before, or {champion}, which it was judged against, serves no more.")


def _end_force(day: str, listener: Listener) -> None:
    """Let the champion of before serve again, if a promotion by force was over before the day."""
    entries = read_history()
    if has_expired(entries, day):
        before = champion_of_before(entries)
        fetch_missing([f"bundles/{before}"], listener.say)
        expire(day)
        listener.say(
            f"the forced promotion of {entries[-1].champion} expired on {entries[-1].until}; {before} serves again"
        )


def _say_stored(day: str, listener: Listener) -> None:
    state = day_state(day)
    listener.say(f"{day} is stored ({state.verdict}) and is never rewritten; nothing to do.")
    found = read_plan(day)
    if found["kind"] == "day" and found["settings"] != sha256(Path("params.yaml")):
        listener.say("params.yaml has changed since; the change counts for days to come.")


def _finish_last_day() -> None:
    """Finish the registry and git, and promote what was stored and killed before its promotion: a day, or a replay."""
    finish()
    days = planned_days()[1:]
    if days and days[-1] in git.stored_days() and day_state(days[-1]).verdict == "passed":
        promote(day=days[-1])
    if (adopted := adopted_before(1)) and adopted[-1].final:
        promote(day=adopted[-1].final)
