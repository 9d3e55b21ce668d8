"""Processes that torch's own launcher starts."""

import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from recprune.data.features import FeatureSet
from recprune.model.line import Line
from recprune.settings import TrainSettings
from recprune.training.distributed.launch import learn_in_processes
from recprune.training.incremental import learn
from recprune.training.midway import Checkpoints
from tests.networks import TRAIN, events_for, line_of, same, shape_of
from tests.training.distributed.test_passes import assert_close

pytestmark = pytest.mark.usefixtures("workspace")

DAY = "2024-01-02"
FOLDER, EVENTS = Path("scratch") / DAY / "train", Path("learn")


def checkpoints(minutes: float) -> Checkpoints:
    return Checkpoints(DAY, {"code": "77"}, minutes=minutes, threads=1, say=print)


def served() -> Line:
    return line_of(shape_of(3, 1))


def events(rows: int) -> FeatureSet:
    found = events_for(served(), rows)
    found.save(EVENTS)
    return found


def settings(processes: int, minutes: float = 0) -> TrainSettings:
    return replace(TRAIN, processes=processes, checkpoint_minutes=minutes)


def kill_a_worker_once_there_is_a_checkpoint() -> None:
    this, until = psutil.Process(), time.monotonic() + 60
    while time.monotonic() < until:
        workers = [each for each in this.children() if "distributed.worker" in " ".join(each.cmdline())]
        if workers and list(FOLDER.glob("served.[01]/manifest.json")):
            workers[-1].send_signal(signal.SIGKILL)
            return
        time.sleep(0.01)


def test_after_the_death_of_a_process_the_group_goes_on_to_the_bytes_of_an_undisturbed_one(
    capfd: pytest.CaptureFixture[str],
) -> None:
    learned, lines, undisturbed = events(3000), {"served": served()}, {"served": served()}
    killer = threading.Thread(target=kill_a_worker_once_there_is_a_checkpoint)
    killer.start()
    with checkpoints(1e-9) as kept:
        assert learn_in_processes(lines, EVENTS, settings(2, 1e-9), 5, kept) == {}
    killer.join()
    told = capfd.readouterr().out
    assert "train: the 2 processes were started again" in told
    assert "served goes on after batch" in told
    assert not FOLDER.exists()
    with checkpoints(0) as kept:
        assert learn_in_processes(undisturbed, EVENTS, settings(2), 5, kept) == {}
    assert same(lines["served"], undisturbed["served"])
    alone = served()
    learn(alone, learned, TRAIN, 5)
    assert_close(lines["served"], alone)
