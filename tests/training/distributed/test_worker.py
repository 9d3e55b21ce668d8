import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from recprune.data.features import FeatureSet
from recprune.model.line import Line
from recprune.training.distributed.group import Group
from recprune.training.distributed.task import Leader, Task, read_learned, read_start
from recprune.training.distributed.worker import Member
from recprune.training.hooks import NoHook, StepView
from recprune.training.incremental import learn
from recprune.training.midway import Checkpoints
from tests.networks import TRAIN, events_for, line_of, same, shape_of
from tests.training.distributed.groups import in_group
from tests.training.distributed.test_passes import assert_close

pytestmark = pytest.mark.usefixtures("workspace")

DAY, KEY = "2024-01-02", {"code": "77"}
FOLDER, EVENTS = Path("scratch") / DAY / "train", Path("learn")
ROWS = 403


class StoppedError(Exception):
    pass


@dataclass
class Stop(NoHook):
    """Ends the pass after so many steps, as if every process had died."""

    after_steps: int
    done: int = 0

    def after(self, view: StepView) -> None:
        self.done += 1
        if self.done == self.after_steps:
            raise StoppedError


def two_lines() -> dict[str, Line]:
    return {"dense": line_of(shape_of(3, 1)), "served": line_of(shape_of(3, 1, inputs=[0, 2, 8]))}


def prepare(lines: dict[str, Line], minutes: float = 1e-9) -> FeatureSet:
    events = events_for(line_of(shape_of(3, 1)), ROWS)
    if not EVENTS.exists():
        events.save(EVENTS)
    settings = replace(TRAIN, checkpoint_minutes=minutes)
    facts = {name: getattr(settings, name) for name in settings.__slots__}
    Task(DAY, KEY, list(lines), str(EVENTS), 5, facts).write(FOLDER, lines)
    return events


def checkpoints(said: list[str]) -> Checkpoints:
    return Checkpoints(DAY, KEY, minutes=1e-9, threads=1, say=said.append)


def member(group: Group, stop_after: int = 0) -> None:
    leader = Leader(FOLDER) if group.leads else None
    try:
        Member(group, leader, Stop(stop_after) if stop_after else None).work()
    finally:
        if leader:
            leader.kept.close()


def learned(name: str) -> Line:
    found = read_learned(checkpoints([]), name)
    assert isinstance(found, Line)
    return found


def test_every_line_learns_and_what_is_done_is_not_done_again() -> None:
    events = prepare(two_lines(), minutes=0)
    assert in_group(2, member) == [None, None]
    for name, line in two_lines().items():
        learn(line, events, TRAIN, 5)
        assert_close(learned(name), line)
    assert same(read_start(FOLDER)[0]["dense"], two_lines()["dense"])
    before = {path: path.stat().st_mtime_ns for path in FOLDER.glob("*.done/*")}
    assert in_group(3, member) == [None, None, None]
    assert {path: path.stat().st_mtime_ns for path in FOLDER.glob("*.done/*")} == before


def test_a_checkpoint_of_two_processes_goes_on_in_one_and_in_three() -> None:
    lines = {"served": two_lines()["served"]}
    events = prepare(lines)
    assert in_group(2, member) == [None, None]
    undisturbed = learned("served")
    with suppress(FileNotFoundError):
        for path in FOLDER.glob("served.*"):
            path.rename(FOLDER / f"of-the-first-{path.name}")
    assert [type(found) for found in in_group(2, member, 40)] == [StoppedError] * 2
    kept = {path.name: path for path in FOLDER.glob("served.[01]")}
    assert kept
    shutil.copytree(FOLDER, "kept")
    steps = -(-ROWS // TRAIN.batch)  # as many as the pass has from its beginning: it would be ended in the last one
    assert in_group(3, member, steps) == [None, None, None]
    assert_close(learned("served"), undisturbed)
    shutil.rmtree(FOLDER)
    shutil.copytree("kept", FOLDER)
    alone, said = lines["served"].copy(), list[str]()
    one = checkpoints(said)
    learn(alone, events, TRAIN, 5, kept=one.of("served"))
    one.close()
    assert_close(alone, undisturbed)
    assert "served goes on after batch" in said[0]


def test_a_line_that_breaks_is_told_and_harms_no_other() -> None:
    lines = two_lines()
    lines["dense"].weights["embedding"] *= 1e38
    events = prepare(lines, minutes=0)
    assert in_group(2, member) == [None, None]
    found = read_learned(checkpoints([]), "dense")
    assert "gradients that are not finite: " in str(found)
    alone = two_lines()["served"]
    learn(alone, events, TRAIN, 5)
    assert_close(learned("served"), alone)
