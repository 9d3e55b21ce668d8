"""Processes that torch's own launcher starts."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from torch.distributed.elastic.rendezvous import RendezvousParameters

from recprune.data.features import FeatureSet
from recprune.errors import RecpruneError, SettingsError
from recprune.model.line import Line
from recprune.settings import TrainSettings
from recprune.training.distributed import launch
from recprune.training.distributed.launch import HOSTS, MEETING, RUN, configuration, learn_in_processes
from recprune.training.distributed.task import Task, read_learned
from recprune.training.incremental import learn
from recprune.training.midway import Checkpoints
from tests.documentation import DOCS, commands
from tests.networks import TRAIN, events_for, line_of, same, shape_of
from tests.training.distributed.groups import in_group
from tests.training.distributed.test_passes import assert_close
from tests.training.distributed.test_worker import member

pytestmark = pytest.mark.usefixtures("workspace")

DAY, KEY = "2024-01-02", {"code": "77"}
FOLDER, EVENTS = Path("scratch") / DAY / "train", Path("learn")


def checkpoints(minutes: float) -> Checkpoints:
    return Checkpoints(DAY, KEY, minutes=minutes, threads=1, say=print)


def served() -> Line:
    return line_of(shape_of(3, 1))


def events(rows: int) -> FeatureSet:
    found = events_for(served(), rows)
    found.save(EVENTS)
    return found


def settings(processes: int, minutes: float = 0) -> TrainSettings:
    return replace(TRAIN, processes=processes, checkpoint_minutes=minutes)


def kill_a_worker_once_there_is_a_checkpoint() -> None:
    until = time.monotonic() + 60
    while not list(FOLDER.glob("served.[01]/manifest.json")) and time.monotonic() < until:
        time.sleep(0.01)
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if "recprune.training.distributed.worker" in process.cmdline():
                process.send_signal(signal.SIGKILL)
                return


def test_after_the_death_of_a_process_the_group_goes_on_to_the_bytes_of_an_undisturbed_one(
    capfd: pytest.CaptureFixture[str],
) -> None:
    learned, lines = events(1200), {"served": served()}
    killer = threading.Thread(target=kill_a_worker_once_there_is_a_checkpoint)
    killer.start()
    with checkpoints(1e-9) as kept:
        assert learn_in_processes(lines, EVENTS, settings(2, 1e-9), 5, kept) == {}
    killer.join()
    told = capfd.readouterr().out
    assert "train: the 2 processes were started again" in told
    assert "served goes on after batch" in told
    assert not FOLDER.exists()
    assert same(lines["served"], undisturbed(2))
    alone = served()
    learn(alone, learned, TRAIN, 5)
    assert_close(lines["served"], alone)


def undisturbed(processes: int) -> Line:
    """Learn the same in a group that no launcher watches."""
    facts = asdict(settings(processes))
    Task(DAY, KEY, ["served"], str(EVENTS), 5, facts).write(FOLDER, {"served": served()})
    assert in_group(processes, member) == [None] * processes
    found = read_learned(checkpoints(0), "served")
    assert isinstance(found, Line)
    return found


ENDLESS = """
from pathlib import Path
from tests.training.distributed.test_launch import EVENTS, checkpoints, events, learn_in_processes, served, settings
events(200_000)
learn_in_processes({"served": served()}, EVENTS, settings(2), 5, checkpoints(0))
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_goes_on_without_the_step(end: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", ENDLESS], env=environment, stderr=subprocess.DEVNULL) as step:
        workers, until = list[psutil.Process](), time.monotonic() + 60
        while len(workers) < 2 and time.monotonic() < until:
            workers = psutil.Process(step.pid).children()
            time.sleep(0.05)
        assert len(workers) == 2
        step.send_signal(end)
        assert step.wait(60) == -end
    assert psutil.wait_procs(workers, timeout=60)[1] == []


def test_processes_of_several_hosts_learn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second host is another launcher, given no folder: it waits for the first one and is told what to learn."""
    events(400)
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"localhost:{free.getsockname()[1]}"
    monkeypatch.setenv(HOSTS, "2")
    monkeypatch.setenv(MEETING, place)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    (shown,) = [line for line in commands(DOCS / "distributed.md") if line.startswith("torchrun ")]
    words = shown.replace("trainer-0:29400", place).replace("--nproc-per-node 2", "--nproc-per-node 1").split()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--local-addr", "localhost", *words[1:]]
    lines = {"served": served()}
    with subprocess.Popen(torchrun, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as other:
        try:
            with checkpoints(0) as kept:
                assert learn_in_processes(lines, EVENTS, settings(2), 5, kept) == {}
            told = other.communicate(timeout=60)[0]
            assert other.returncode == 0, told
        finally:
            other.kill()
    assert same(lines["served"], undisturbed(2))


def test_a_group_that_fails_again_and_again_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    events(20)
    (EVENTS / "label.npy").unlink()
    (EVENTS / "label.npy").write_bytes(b"")
    monkeypatch.setattr(launch, "RESTARTS", 0)
    Task(DAY, KEY, ["served"], str(EVENTS), 5, asdict(settings(1))).write(FOLDER, {"served": served()})
    told = (
        "train: process 0 of 1 ended with exit code 1, after all were started 0 times again; what it said stands "
        "above. Give the same command again: the passes go on from their last checkpoints"
    )
    with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
        launch.launch(FOLDER, 1)
    assert "learn holds something else than recprune writes" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("hosts", "meeting", "told"),
    [
        ("2", "a:1", "RECPRUNE_HOSTS is '2', train.processes is 3: it is the number of machines that share them, the"),
        ("two", "a:1", "RECPRUNE_HOSTS is 'two', train.processes is 3: it is the number of machines that share them"),
        (
            "3",
            "",
            "RECPRUNE_HOSTS is 3, but RECPRUNE_RENDEZVOUS is not set; it says where they meet, HOST:PORT of this",
        ),
    ],
)
def test_hosts_that_do_not_fit_are_refused(
    monkeypatch: pytest.MonkeyPatch, hosts: str, meeting: str, told: str
) -> None:
    monkeypatch.setenv(HOSTS, hosts)
    monkeypatch.setenv(MEETING, meeting)
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}"):
        configuration(3, Path("logs"))


def test_processes_of_one_machine_listen_to_nobody_else() -> None:
    config = configuration(2, Path("logs"))
    handler = launch._Loopback(RendezvousParameters(config.rdzv_backend, "", RUN, 1, 1))
    place = handler.next_rendezvous().bootstrap_store_info
    listening = [each for each in psutil.Process().net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}
    assert place.master_port in {each.laddr.port for each in listening}
