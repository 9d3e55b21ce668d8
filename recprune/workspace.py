"""What a workspace says of its days: plans and verdicts. The workspace is the current directory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recprune.data.verdict import VERDICT
from recprune.days import days_between
from recprune.errors import RecpruneError
from recprune.files import read_json

PLANS, REPORTS = Path("plans"), Path("reports")
DAY_YAML = Path("day.yaml")

Verdict = Literal["passed", "held", "quarantined"]


def plan_path(day: str) -> Path:
    """Return where a day's plan lies."""
    return PLANS / f"{day}.json"


def validation_path(day: str) -> Path:
    """Return the folder of a day's verdict on its data."""
    return REPORTS / day / "validation"


def report_path(day: str, name: str) -> Path:
    """Return one of a day's JSON reports: prune, evaluation, measurements or gate."""
    return REPORTS / day / f"{name}.json"


def delivered_path(day: str) -> Path:
    """Return where it lies what a day's model file has and takes beside the dense network's."""
    return REPORTS / day / "export" / "measurements.json"


@dataclass(frozen=True, slots=True)
class DayState:
    """What is known of a day."""

    day: str
    verdict: Verdict | None
    sentence: str
    finite: bool
    """Whether later days may take it as their parent, were it not quarantined."""


def day_state(day: str) -> DayState:
    """Read a day's verdict from its files."""
    if is_quarantined(day):
        return DayState(day, "quarantined", read_json(validation_path(day) / VERDICT)["sentence"], finite=False)
    gate = report_path(day, "gate")
    if not gate.exists():
        return DayState(day, None, "no verdict yet", finite=False)
    verdict = read_json(gate)
    return DayState(day, verdict["verdict"], verdict["sentence"], bool(read_json(report_path(day, "prune"))["finite"]))


def is_quarantined(day: str) -> bool:
    """Say whether `validate` quarantined the day."""
    file = validation_path(day) / VERDICT
    return file.exists() and read_json(file)["verdict"] == "quarantined"


def planned_days() -> list[str]:
    """Return every day that has a plan, genesis included, in order."""
    return sorted(path.stem for path in PLANS.glob("*.json"))


def genesis_day() -> str:
    """Return the day of genesis, the first day's parent.

    Raises:
        RecpruneError: the current directory is not a workspace.
    """
    days = planned_days()
    if not days or read_plan(days[0])["kind"] != "genesis":
        raise RecpruneError(f"{Path.cwd()} is not a workspace: it has no plans/; make one with: recprune init DIR")
    return days[0]


def read_plan(day: str) -> dict[str, Any]:
    """Read a day's plan."""
    return dict(read_json(plan_path(day)))


def days_with_verdict() -> list[DayState]:
    """Return the state of every planned day after genesis, in order."""
    return [day_state(day) for day in planned_days()[1:]]


def days_before(day: str) -> list[DayState]:
    """Return the state of every day between genesis and `day`, both left out, planned or not."""
    return [day_state(d) for d in list(days_between(genesis_day(), day))[1:-1]]
