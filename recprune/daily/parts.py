"""A part of a step, as one of several Airflow tasks does it: at the same time as others, wherever the workspace is."""

import re
from pathlib import Path

from recprune.daily.timed import Listener
from recprune.errors import SettingsError
from recprune.lock import hold
from recprune.settings import Settings, read_settings
from recprune.versioning import git
from recprune.versioning.pipeline import outputs, stored_events
from recprune.workspace import genesis_day, is_quarantined, read_plan

IN_PARTS = ("ingest", "featurize")
"""Steps that may be done in parts."""
MOST = 1000
"""Parts of a step."""


def run_part(day: str, step: str, asked: str, listener: Listener) -> None:
    """Do a part of a step beforehand; the step then puts the parts together, and does itself what is missing.

    The workspace's lock is not taken: parts are done at the same time, and nothing but the step reads what they write.

    Args:
        day: the calendar day.
        step: one of `IN_PARTS`.
        asked: which part of how many, as in 2/4.
        listener: is told what was done.

    Raises:
        RecpruneError: there is no such part, or a file cannot be read.
    """
    part, parts = _numbers(step, asked)
    genesis_day()  # raises outside a workspace
    if not git.is_source_repository() and day in git.stored_days():
        listener.say(f"{day} is stored and is never rewritten; nothing to do.")
        return
    do = _ingest if step == "ingest" else _featurize
    command = f"recprune run --day {day} --only {step} --part {part}/{parts}"
    with hold(f"{step}-{part}-of-{parts}", command, wait=True):  # a killed task's command may work on
        done = do(read_settings(Path()), day=day, part=part, parts=parts)
    listener.say(f"{day} {step} {part}/{parts}: {done}.")


def _ingest(settings: Settings, *, day: str, part: int, parts: int) -> str:
    from recprune.steps.ingest import ingest_part

    return ingest_part(settings, day=day, part=part, parts=parts, events=_events(day))


def _featurize(settings: Settings, *, day: str, part: int, parts: int) -> str:
    from recprune.steps.featurize import featurize_part

    if is_quarantined(day):
        return "the day is quarantined; nothing to do"
    parent = str(read_plan(day)["parent"])
    parent_vocabulary, parent_features = map(Path, outputs(parent, ("featurize",)))
    return featurize_part(
        settings,
        day=day,
        part=part,
        parts=parts,
        features=Path(outputs(day, ("featurize",))[1]),
        events=_events(day),
        parent_events=_events(parent),
        parent_features=parent_features,
        parent_vocabulary=parent_vocabulary,
    )


def _events(day: str) -> Path:
    return Path(stored_events(day)[0])


def _numbers(step: str, asked: str) -> tuple[int, int]:
    if step not in IN_PARTS:
        raise SettingsError(f"--part {asked}: {step} is not done in parts; {' and '.join(IN_PARTS)} are.")
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", asked)
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part <= parts <= MOST:
        raise SettingsError(f"--part is {asked}; write which part of how many, up to {MOST}, as in 2/4.")
    return part, parts
