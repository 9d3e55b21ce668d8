"""What a workspace says of its days: plans and verdicts. The workspace is the current directory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recprune.data.verdict import VERDICT, read_verdict
from recprune.days import days_between, in_order, number_of, plain_day
from recprune.errors import RecpruneError
from recprune.files import free_bytes, make_room, read_json, size_of, understood
from recprune.registry.revisions import name_of, names

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
        return DayState(day, "quarantined", read_verdict(validation_path(day))["sentence"], finite=False)
    gate, pruned = report_path(day, "gate"), report_path(day, "prune")
    if not gate.exists():
        return DayState(day, None, "no verdict yet", finite=False)
    told, finite = read_json(gate), read_json(pruned)
    with understood(gate):
        verdict, sentence = told["verdict"], told["sentence"]
        if told.get("day", day) != day or verdict not in ("passed", "held") or not isinstance(sentence, str):
            raise ValueError(f"the verdict on {told.get('day', day)!r} is {verdict!r}")
    with understood(pruned):
        if finite.get("day", day) != day or not isinstance(finite["finite"], bool):
            raise ValueError(f"of {finite.get('day', day)!r}, finite is {finite['finite']!r}")
        return DayState(day, verdict, sentence, finite["finite"])


def is_quarantined(day: str) -> bool:
    """Say whether `validate` quarantined the day."""
    folder = validation_path(day)
    return (folder / VERDICT).exists() and bool(read_verdict(folder)["verdict"] == "quarantined")


def planned_days() -> list[str]:
    """Return every day that has a plan, genesis included, in order; no revisions."""
    return [day for day in _planned() if number_of(day) == 1]


def planned_revisions() -> list[str]:
    """Return every revision of a day that has a plan, in order."""
    return [day for day in _planned() if number_of(day) > 1]


def _planned() -> list[str]:
    return sorted((path.stem for path in PLANS.glob("*.json")), key=in_order)


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
    """Read a day's plan.

    Raises:
        DamagedArtefactError: it is missing, or the plan of another day.
    """
    found = read_json(plan_path(day))
    with understood(plan_path(day)):
        if found["day"] != day or found["kind"] not in ("genesis", "day"):
            raise ValueError(f"it is a plan of {found['day']!r}, kind {found['kind']!r}")
        if not isinstance(found.get("restart"), str | None):
            raise TypeError(f"restart is {found['restart']!r}")
        return dict(found)


def room_for_a_day() -> str:
    """Say how much space a day needs beside what is free, as the largest day here took; and what to do.

    In the workspace, in DVC's cache, and in a remote that is a folder of the same disk: three times.
    """
    sizes = [sum(size_of(folder) for folder in _artefacts_of(day)) for day in _planned()]
    return make_room(max(3 * max(sizes, default=0) - free_bytes(), 1))


def _artefacts_of(day: str) -> list[Path]:
    patterns = ("data/*", "vocab", "profiles", "models", "scores", "bundles")
    return [path for pattern in patterns for path in Path().glob(f"{pattern}/{day}")]


def days_with_verdict() -> list[DayState]:
    """Return the state of every planned day after genesis, in order."""
    return [day_state(day) for day in planned_days()[1:]]


def lineage(day: str) -> list[str]:
    """Return a day, its parent, that one's parent and so on; without genesis."""
    found = []
    while (plan := read_plan(day))["kind"] == "day":
        found.append(day)
        day = plan["parent"]
    return found


def harmful_days(day: str) -> list[str]:
    """Return the days that trials on a day's rows proved to do harm; none of a day whose own rows are bad."""
    if not plan_path(day).exists() or is_quarantined(day):
        return []
    with understood(plan_path(day)):
        return [str(trial["suspicious"]) for trial in read_plan(day).get("trials", []) if trial["left_out"]]


def command_for(day: str) -> str:
    """Return the command that makes a day."""
    return f"recprune run --day {day}" if number_of(day) == 1 else f"recprune replay --from {plain_day(day)}"


def stale_days(day: str) -> list[str]:
    """Return the days that learned a calendar day, as later days know it, or whose parents did; in order."""
    name = name_of(day)
    heirs = {name}
    for each in _planned():
        if in_order(each) > in_order(name) and read_plan(each)["parent"] in heirs:
            heirs.add(each)
    return sorted((each for each in heirs - {name} if not is_quarantined(each)), key=in_order)


def days_before(day: str) -> list[DayState]:
    """Return the state of every day between genesis and `day`, both left out, planned or not.

    Where a replay was adopted, and before a day of one that still goes on, these are its revisions, without the days
    that it left out.
    """
    return [day_state(d) for d in names(list(days_between(genesis_day(), day))[1:-1], number_of(day))]
