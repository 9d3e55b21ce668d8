"""Start the processes of a group with torch's elastic launcher, the machinery of `torchrun`, and wait for them.

A process that dies takes the others with it; the launcher starts them all again, and the passes go on from their last
checkpoints.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch._C._distributed_c10d import PrefixStore, TCPStore
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import (
    RendezvousError,
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError, RecpruneError, SettingsError
from recprune.model.line import Line
from recprune.settings import TrainSettings
from recprune.training.distributed.group import LOOPBACK
from recprune.training.distributed.task import Task, read_learned, read_start
from recprune.training.midway import Checkpoints

HOSTS, MEETING = "RECPRUNE_HOSTS", "RECPRUNE_RENDEZVOUS"
"""Environment variables: machines that learn together, and HOST:PORT at which they meet, on the step's own one."""
RUN = "recprune"
"""What all hosts call the group (`torchrun --rdzv-id`)."""
RESTARTS = 3
"""How often the processes are started again before the step gives up."""
_WORKER = "recprune.training.distributed.worker"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def learn_in_processes(
    lines: dict[str, Line], events: Path, settings: TrainSettings, seed: int, kept: Checkpoints
) -> dict[str, NotFiniteError]:
    """Give each line one pass over the events, in place; `settings.processes` share each of them.

    The lines are written down for the processes, and not held by this one while they learn.

    Args:
        lines: with rows for the events' vocabulary.
        events: folder of the features of the day's pass.
        settings: of the section `train`.
        seed: of the order, the same for all lines.
        kept: checkpoints, from which every pass goes on where it was; in whose folder all this lies.

    Returns:
        By name what made a line non-finite; such a line is as it was before.

    Raises:
        SettingsError: see `configuration`.
        RecpruneError: the processes failed again and again.
    """
    if not len(FeatureSet.load(events)):
        return {}
    names = list(lines)
    Task(kept.day, kept.key, names, str(events), seed, asdict(settings)).write(kept.folder, lines)
    lines.clear()
    launch(kept.folder, settings.processes)
    before, broken = read_start(kept.folder, mapped=True)[0], dict[str, NotFiniteError]()
    for name in names:
        found = read_learned(kept, name)
        if isinstance(found, NotFiniteError):
            broken[name] = found
        lines[name] = before.pop(name) if isinstance(found, NotFiniteError) else found
    return broken


def launch(folder: Path, processes: int) -> None:
    """Let so many processes do the task in a folder.

    Raises:
        SettingsError: they cannot be divided among the hosts.
        RecpruneError: they failed more than `RESTARTS` times, or the hosts did not meet.
    """
    config = configuration(processes, folder / "logs")
    try:
        with _own_signals():
            elastic_launch(config, sys.executable)("-m", _WORKER, str(folder), str(os.getpid()))
    except SignalException as error:
        os.kill(os.getpid(), error.sigval)  # what the signal would have done without the launcher
        raise
    except RendezvousError as error:
        raise RecpruneError(
            f"train: {HOSTS} is {config.max_nodes}, but so many machines did not meet at {config.rdzv_endpoint} in "
            f"time ({error}); start torchrun on the others, then give the same command again"
        ) from None
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise RecpruneError(
            f"train: process {rank} of {processes} ended with exit code {failure.exitcode}, after all were started "
            f"{RESTARTS} times again; what it said stands above. Give the same command again: the passes go on from "
            "their last checkpoints"
        ) from None


def configuration(processes: int, logs: Path) -> LaunchConfig:
    """Return how processes are started: all on this machine, or a part of them on each of several hosts.

    Args:
        processes: on all hosts together.
        logs: folder for what the launcher would leave behind elsewhere.

    Raises:
        SettingsError: `RECPRUNE_HOSTS` or `RECPRUNE_RENDEZVOUS` does not fit.
    """
    told, meeting = os.environ.get(HOSTS, "1"), os.environ.get(MEETING, "")
    hosts = int(told) if told.isdecimal() else 0
    if hosts < 1 or processes % hosts:
        raise SettingsError(
            f"{HOSTS} is {told!r}, train.processes is {processes}: it is the number of machines that share them, "
            "the same number of processes each"
        )
    if hosts > 1 and not meeting:
        raise SettingsError(
            f"{HOSTS} is {hosts}, but {MEETING} is not set; it says where they meet, HOST:PORT of this machine"
        )
    common: dict[str, Any] = {
        "min_nodes": hosts, "max_nodes": hosts, "nproc_per_node": processes // hosts, "run_id": RUN,
        "max_restarts": RESTARTS, "logs_specs": DefaultLogsSpecs(str(logs)),
    }  # fmt: skip
    if hosts > 1:
        return LaunchConfig(**common, rdzv_backend="c10d", rdzv_endpoint=meeting, rdzv_configs={"is_host": True})
    rendezvous_handler_registry.register(_Loopback.NAME, _Loopback)
    return LaunchConfig(**common, rdzv_backend=_Loopback.NAME, local_addr=LOOPBACK)


class _Loopback(RendezvousHandler):
    """The meeting place of processes of one machine; unlike torch's own, it listens to nobody else."""

    NAME = "recprune-loopback"

    def __init__(self, parameters: RendezvousParameters) -> None:
        self._run = parameters.run_id

    def get_backend(self) -> str:
        """Name it."""
        return self.NAME

    @property
    def use_agent_store(self) -> bool:
        """Let the processes meet in the same place."""
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        """Return a place, a fresh one for each start of the processes; this machine is the only one."""
        listening = socket.create_server((LOOPBACK, 0))
        port = listening.getsockname()[1]
        self._store = TCPStore(
            LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach()
        )
        place = RendezvousStoreInfo(LOOPBACK, port)
        return RendezvousInfo(PrefixStore(self._run, self._store), 0, 1, place)

    def is_closed(self) -> bool:
        """Say that it is open."""
        return False

    def set_closed(self) -> None:
        """Do nothing: it ends with the launcher."""

    def num_nodes_waiting(self) -> int:
        """Say that no other machine waits."""
        return 0

    def get_run_id(self) -> str:
        """Return what the group is called."""
        return self._run

    def shutdown(self) -> bool:
        """Do nothing: it ends with the launcher."""
        return True


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put back what the launcher does with signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
