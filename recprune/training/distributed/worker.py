"""One process of a group: `python -m recprune.training.distributed.worker [FOLDER PID]`, started by torch's launcher.

The step `train` starts those on its own machine; it names the folder in which it left what is to be learned, and its
own process. On other machines `torchrun` starts them without these, in the same workspace (docs/distributed.md); they
are told what to do.
"""

import os
import signal
import sys
import threading
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

import torch

from recprune.data.features import FeatureSet
from recprune.environment import code_digest, cpu_bfloat16, environment
from recprune.errors import NotFiniteError, RecpruneError
from recprune.model.threads import use_threads
from recprune.progress import Progress
from recprune.settings import TrainSettings
from recprune.training.distributed.group import Group, joined
from recprune.training.distributed.passes import GroupPass
from recprune.training.distributed.table import divide, unite
from recprune.training.distributed.task import Leader, Task, say
from recprune.training.hooks import Hook
from recprune.training.midway import Midway

_WATCH = 0.5
"""Seconds between two looks at whether the launcher still lives."""


def main() -> None:
    """Learn as a part of the group, then end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the launcher, which ends all of its processes
    folder, launcher = (Path(sys.argv[1]), int(sys.argv[2])) if sys.argv[1:] else (None, os.getppid())
    threading.Thread(target=_end_with, args=(launcher,), daemon=True).start()
    try:
        with joined(leads=folder is not None) as group:
            Member(group, Leader(folder) if folder is not None and group.leads else None).work()
    except BaseException as error:  # noqa: BLE001
        _say_why(error)
        sys.stderr.flush()
        os._exit(1)  # an orderly end would wait for messages that never come


def _say_why(error: BaseException) -> None:
    """Say what ended this process; of what another one's end did to it, briefly."""
    if isinstance(error, RecpruneError):
        sys.stderr.write(f"{error}\n")
    elif isinstance(error, RuntimeError) and "gloo" in str(error):
        sys.stderr.write("train: another process of the group has gone\n")
    else:
        traceback.print_exception(error)


class Member:
    """A process of a group at its task.

    Args:
        group: that learns together.
        leader: in the group's leader; None in the other processes.
        hook: what a policy does in every step, the same in every process.
    """

    def __init__(self, group: Group, leader: Leader | None, hook: Hook | None = None) -> None:
        self.group, self.leader, self.hook = group, leader, hook
        self.task = Task(**group.tell(leader.task.facts() if leader else None))
        self.events = FeatureSet.load(Path(self.task.events))

    def work(self) -> None:
        """Give each line its pass; those that are done are left alone.

        Raises:
            RecpruneError: the processes cannot learn together.
        """
        leader, task, rows = self.leader, self.task, len(self.events)
        use_threads(task.train.threads)
        _check_alike(self.group, task.train)
        again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        if leader and again:
            say(f"train: the {self.group.world} processes were started again, for the {again}. time")
        with ExitStack() as stack:
            progress = stack.enter_context(Progress("train", rows * len(task.names))) if leader else None
            for done, name in enumerate(task.names, 1):
                if not self.group.tell(leader is not None and leader.is_done(name)):
                    self._learn(name, progress)
                if progress:
                    progress.to(done * rows)
        if leader:
            leader.kept.close()

    def _learn(self, name: str, progress: Progress | None) -> None:
        """Give a line its pass."""
        group, leader, task = self.group, self.leader, self.task
        before = progress.done if progress else 0
        kept = leader.kept.of(name) if leader else None
        line, begun = leader.begin(name, kept, self.events) if leader and kept else (None, None)
        share, begun = divide(group, line), _told(group, begun)
        if not begun.batches:
            share.moments["embedding.square"].mul_(task.train.embedding_memory)
        at = (lambda rows, _total: progress.to(before + rows)) if progress else None
        broken = None
        try:
            GroupPass(group, share, begun, task.train, self.hook).learn(self.events, task.seed, kept, at)
        except NotFiniteError as error:
            broken = error
        if kept:
            kept.wait()
        whole = None if broken else unite(group, share, leader.folder / "whole" if leader else None)
        if leader:
            leader.finish(name, whole, broken)


def _told(group: Group, begun: Midway | None) -> Midway:
    """Return what is done of a pass, as the leader knows it, in every process."""
    sizes = {name: len(tensor) for name, tensor in begun.importance.items()} if begun else None
    batches, loss, sizes = group.tell([begun.batches, begun.loss, sizes] if begun else None)
    sums = {name: group.give(begun.importance[name] if begun else torch.empty(n)) for name, n in sizes.items()}
    return Midway(batches, loss, sums)


def _check_alike(group: Group, train: TrainSettings) -> None:
    """Check that the processes compute alike.

    Raises:
        RecpruneError: processors, their instructions for bfloat16 if these are used, threads, libraries or recprune
            itself differ.
    """
    here, bfloat16 = environment(train.threads), cpu_bfloat16() if train.precision == "bf16" else None
    facts = {"CPU class": here["cpu"], "threads": train.threads, "libraries": here["libraries_digest"]}
    facts |= {"instructions for bfloat16": bfloat16, "code": code_digest()}
    first = group.tell(facts)
    differ = torch.tensor([int(value != first[name]) for name, value in facts.items()])
    group.end(group.begin_total(differ))
    if names := [name for name, count in zip(facts, differ.tolist(), strict=True) if count]:
        raise RecpruneError(
            f"train: the {group.world} processes have different {', '.join(names)}; layers that each of them moves by "
            "itself would drift apart. Give every machine the same image and the same kind of processor"
        )


def _end_with(parent: int) -> None:
    """End this process when its launcher has ended: a pass without a step would write beside the next one's."""
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)


if __name__ == "__main__":
    main()
