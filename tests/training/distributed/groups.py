"""Groups of real processes, without a launcher."""

import pickle
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch.distributed as dist

from recprune.model.threads import use_threads
from recprune.training.distributed.group import elect
from tests.kills import FRESH

SECONDS = 120


def in_group(world: int, function: Callable[..., Any], *arguments: Any, leader: int = 0) -> list[Any]:
    """Call a function with a group, in each of its processes; returns what they return, by rank.

    Function, arguments and what is returned are pickled. An exception is returned, not raised.
    """
    asked = pickle.dumps((function, arguments))  # by itself, for tensors must not be handed over as shared memory
    with tempfile.TemporaryDirectory() as folder:
        ends = [FRESH.Pipe(duplex=False) for _ in range(world)]
        processes = [
            FRESH.Process(target=_call, args=(ends[rank][1], folder, (rank, world, leader), asked))
            for rank in range(world)
        ]
        for process in processes:
            process.start()
        try:
            for (mine, _), process in zip(ends, processes, strict=True):
                assert mine.poll(SECONDS), f"process {process.pid} said nothing"
            return [pickle.loads(mine.recv_bytes()) for mine, _ in ends]
        finally:
            for process in processes:
                process.kill()
                process.join()


def _call(end: Connection, folder: str, place: tuple[int, int, int], asked: bytes) -> None:
    rank, world, leader = place
    use_threads(1)
    dist.init_process_group(
        "gloo", store=dist.FileStore(str(Path(folder) / "store"), world), rank=rank, world_size=world
    )
    function, arguments = pickle.loads(asked)
    try:
        found = function(elect(rank >= leader), *arguments)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        found = error
    end.send_bytes(pickle.dumps(found))
    dist.barrier()  # nobody goes while another one still talks to it
