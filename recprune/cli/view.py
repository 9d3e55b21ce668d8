"""What the command line shows: a bar per step, a line per day, the table of days."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from recprune.daily.run import STEPS, Outcome
from recprune.days import in_order
from recprune.files import read_json
from recprune.gating.limits import WARNING
from recprune.printable import one_line
from recprune.registry import history
from recprune.registry.late import unchosen
from recprune.registry.revisions import name_of, read_revisions
from recprune.workspace import (
    DayState,
    day_state,
    genesis_day,
    planned_days,
    planned_revisions,
    read_plan,
    report_path,
    stale_days,
    validation_path,
)

_FIRST = 18
"""Characters of a day and its rows; a revision's name is longer than a day's."""
_SCORES = f"{'NE champion':>12}{'dense':>8}{'served':>8}{'tax':>10}{'FLOPs':>7}  verdict"
_HEADING = f"{'day':<11}{'rows':>{_FIRST - 11}}{'rejected':>9}{_SCORES}"


@contextmanager
def day_bar(console: Console, label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar over days; off a terminal, a line every seven days."""
    if not console.is_terminal:

        def tell(done: int, total: int) -> None:
            if done % 7 == 0 or done == total:
                console.print(f"{label}: {done} of {total}")

        yield tell
        return
    with _bars(console) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _bars(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


class DayView:
    """Listens to a day: a bar for its steps and one for the present step; plain lines off a terminal."""

    def __init__(self, console: Console, days: int) -> None:
        self.console, self.days = console, days
        self._bars: Progress | None = None
        self._steps = self._step = TaskID(0)
        self._day, self._headed = "", False

    def __enter__(self) -> "DayView":
        """Show the bars."""
        if self.console.is_terminal:
            self._bars = _bars(self.console)
            self._steps = self._bars.add_task("", total=len(STEPS))
            self._step = self._bars.add_task("", total=None)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        if self._bars:
            self._bars.stop()

    def day(self, day: str) -> None:
        """A day begins."""
        self._day = day

    def step(self, name: str) -> None:
        """A step begins."""
        if self._bars:
            self._bars.update(self._steps, description=f"{self._day} {name}", completed=STEPS.index(name))
            self._bars.reset(self._step, description=f"  {name}", total=None)
        elif self.days == 1:
            self.console.print(f"{self._day} {name}".strip())

    def progress(self, done: int, total: int) -> None:
        """The present step has come this far."""
        if self._bars:
            self._bars.update(self._step, completed=done, total=total)

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.print(line)

    def line(self, outcome: Outcome) -> None:
        """Print the day's line."""
        if not self._headed:
            self.console.print(_HEADING, soft_wrap=True)
            self._headed = True
        self.console.print(day_line(outcome.state), soft_wrap=True)
        if _is_worth_telling(outcome.state):
            self.console.print(f"  {one_line(outcome.state.sentence)}", soft_wrap=True)


def _is_worth_telling(state: DayState) -> bool:
    """Say whether a day's sentence holds more than that it passed."""
    return state.verdict != "passed" or WARNING in state.sentence


def day_line(state: DayState) -> str:
    """Return rows, rejected, NE of champion, dense and served, prune tax, FLOPs kept and verdict of a day."""
    counts = read_json(validation_path(state.day) / "verdict.json")["counts"]
    begin = f"{state.day} {counts['read']:>{max(_FIRST - len(state.day) - 1, 1)},}{counts['rejected']:>9,}"
    if state.verdict == "quarantined":
        return f"{begin}{'–':>12}{'–':>8}{'–':>8}{'–':>10}{'–':>7}  quarantined"
    ne = read_json(report_path(state.day, "evaluation"))["next_day"]["ne"]
    pruned = read_json(report_path(state.day, "prune"))
    scores = f"{_number(ne['champion']):>12}{_number(ne['dense']):>8}{_number(ne['served']):>8}"
    tax = pruned["tax"]["difference"]
    told = "–" if tax is None else f"{100 * tax:+.2f} %"
    return f"{begin}{scores}{told:>10}{100 * pruned['delivered']:>5.1f} %  {state.verdict}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def show_status(console: Console, last_days: int = 30) -> None:
    """Print the champion and a row for each of the last days."""
    genesis, champion = genesis_day(), history.current()
    last = history.read_history()[-1]
    until = f" until {last.until} by {last.who or 'unknown'}" if last.until else ""
    why = f"{until}: {last.why}" if last.event in ("rollback", "forced", "expired") else ""
    console.print(f"Champion: {champion}, the bundle bundles/{champion} ({last.event} on {last.day}{why})")
    table = Table("day", "parent", "champion before", "verdict", title=f"Days since genesis {genesis}")
    reasons = list[str]()
    days, amended = planned_days()[1:], unchosen(planned_days())
    stale = {day: late.day for late in reversed(amended) for day in (name_of(late.day), *stale_days(late.day))}
    first = days[-last_days:][:1]
    shown = sorted([*days[-last_days:], *(day for day in planned_revisions() if [day] > first)], key=in_order)
    for state in map(day_state, shown):
        plan = read_plan(state.day)
        parent = plan["parent"] + (" (served line restarted)" if plan["restart"] else "")
        mark = " ←" if state.day == champion else ""
        table.add_row(state.day + mark, parent, plan["champion"], state.verdict or "open")
        if state.day in stale:
            reasons.append(f"{state.day} is stale: {stale[state.day]} was amended")
        if state.verdict != "quarantined":  # whose rows decide nothing
            reasons += [one_line(trial["sentence"]) for trial in plan.get("trials", [])]
        if _is_worth_telling(state):
            reasons.append(one_line(state.sentence))
    console.print(table)
    for reason in reasons:
        console.print(reason, soft_wrap=True)
    if (more := len(days) - last_days) > 0:
        console.print(f"{more:,} days before these; all of them: recprune status --last {len(days)}")
    for revision in read_revisions():
        told = {"begun": "open; go on or drop it", "adopted": "adopted", "dropped": "not adopted"}[revision.state]
        why = f" ({one_line(revision.told)})" if revision.told else ""
        console.print(f"Replay {revision.describe()}: {told}{why}", soft_wrap=True)
    for late in amended:
        console.print(
            f"{late.day} was amended: {one_line(late.told)}. To choose what to do: recprune plan-late {late.day}",
            soft_wrap=True,
        )


def show_proposal(console: Console, directory: Path, doubts: Sequence[str]) -> None:
    """Print what to look at first in settings that were proposed from a file, and what to do then."""
    console.print(f"{directory / 'params.yaml'} holds a proposal, with the reason beside each line.")
    if doubts:
        console.print("Look at these first:")
    for doubt in doubts:
        console.print(f"  {doubt}")
    console.print(f"Edit what is wrong. Next: recprune init {directory}")
