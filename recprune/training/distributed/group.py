"""The processes that learn together: who this one is, and what they tell one another (torch's gloo, over TCP).

Every method is called by all processes of the group, in the same order.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

LOOPBACK = "127.0.0.1"

MEET_SECONDS = 90.0
"""How long a process tries to reach the others before it ends, and the launcher starts all of them again.

Now and then two processes of gloo (torch 2.13) wait for one another, when one of an earlier group has died;
its own timeout is five times that of a message.
"""


class Group:
    """A group of processes; its leader is the one beside the step, which alone reads and writes lines.

    Attributes:
        rank: number of this process.
        world: how many there are.
        leader: number of the leader.
        waited: seconds that this process has spent on what the group tells one another, so far.
    """

    def __init__(self, leader: int) -> None:
        self.rank, self.world, self.leader = dist.get_rank(), dist.get_world_size(), leader
        self.waited = 0.0

    @property
    def leads(self) -> bool:
        """Say whether this process is the leader."""
        return self.rank == self.leader

    def tell(self, value: Any) -> Any:
        """Return the leader's value, in every process; any value that JSON can hold."""
        text = bytearray(json.dumps(value if self.leads else None).encode())
        length = self.give(torch.tensor([len(text)]))
        told = self.give(torch.frombuffer(text, dtype=torch.uint8) if self.leads else _bytes(int(length)))
        return json.loads(told.numpy().tobytes())

    def give(self, values: Tensor) -> Tensor:
        """Return the leader's tensor; the others give one of the same kind and size, which is overwritten."""
        with self._timed():
            dist.broadcast(values.view(torch.uint8) if values.dtype == torch.bool else values, self.leader)
        return values

    def begin_total(self, values: Tensor) -> dist.Work:
        """Begin to put into a tensor the sum of all processes' tensors; it is there after `end`."""
        work: dist.Work = dist.all_reduce(values, async_op=True)
        return work

    def end(self, work: dist.Work) -> None:
        """Wait for what was begun."""
        with self._timed():
            work.wait()

    def swap(self, values: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        """Send each process its part of a tensor's rows, in order, and return what they sent to this one, in order.

        Args:
            values: rows (Σ sent, …).
            sent: rows for each process.
            received: rows from each process.
        """
        found = values.new_empty((sum(received), *values.shape[1:]))
        with self._timed():
            dist.all_to_all_single(found, values, list(received), list(sent))
        return found

    def send(self, values: Tensor, to: int) -> None:
        """Send a tensor to one process, which receives it."""
        with self._timed():
            dist.send(values.contiguous(), to)

    def receive(self, values: Tensor, sender: int) -> None:
        """Fill a tensor, whose values lie side by side, with what one process sends."""
        with self._timed():
            dist.recv(values, sender)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.waited += time.perf_counter() - begun


@contextmanager
def joined(leads: bool) -> Iterator[Group]:
    """Be part of the group that torch's launcher has described in the environment.

    Args:
        leads: whether this process may lead; the first one of those does.
    """
    if os.environ.get("MASTER_ADDR") == LOOPBACK:  # all on this machine: nobody else is to hear of it
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    watch = threading.Timer(MEET_SECONDS, _give_up)
    watch.daemon = True
    watch.start()
    dist.init_process_group("gloo")
    watch.cancel()
    yield elect(leads)
    dist.destroy_process_group()  # not after an error: it would wait for messages that never come


def _give_up() -> None:
    print(f"train: a process did not reach the others within {MEET_SECONDS:g} s", flush=True)  # noqa: T201
    os._exit(os.EX_TEMPFAIL)


def elect(leads: bool) -> Group:
    """Return the group, whose leader is the first process that may lead."""
    may = torch.zeros(dist.get_world_size(), dtype=torch.int64)
    may[dist.get_rank()] = int(leads)
    dist.all_reduce(may)
    return Group(int(may.argmax()))


def _bytes(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8)
