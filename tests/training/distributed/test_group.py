import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from recprune.errors import RecpruneError
from recprune.training.distributed.group import Group
from recprune.training.distributed.worker import _check_alike
from tests.networks import TRAIN
from tests.training.distributed.groups import in_group


def talk(group: Group) -> dict[str, object]:
    bits = torch.tensor([True, False, True]) if group.leads else torch.zeros(3, dtype=torch.bool)
    total = torch.full((2,), float(group.rank + 1))
    group.end(group.begin_total(total))
    mine = torch.arange(3) + 10 * group.rank  # one row for the first process, two for the second
    swapped = group.swap(mine, [1, 2], [1, 1] if group.rank == 0 else [2, 2])
    received = torch.zeros(2, 2)
    if group.rank == 0:
        group.send(torch.arange(8.0).view(2, 4)[:, ::2], 1)
    else:
        group.receive(received, 0)
    return {
        "leads": group.leads,
        "told": group.tell({"from": group.rank, "loss": float("nan")}),
        "given": group.give(bits).tolist(),
        "total": total.tolist(),
        "swapped": swapped.tolist(),
        "received": received.tolist(),
        "waited": group.waited > 0,
    }


def test_what_processes_tell_one_another() -> None:
    """The second process leads: the first one does not know what is to be learned."""
    first, second = in_group(2, talk, leader=1)
    assert (first["leads"], second["leads"]) == (False, True)
    for found in (first, second):
        assert found["told"]["from"] == 1
        assert found["given"] == [True, False, True]
        assert found["total"] == [3.0, 3.0]
        assert found["waited"]
    assert (first["swapped"], second["swapped"]) == ([0, 10], [1, 2, 11, 12])
    assert second["received"] == [[0.0, 2.0], [4.0, 6.0]]


def alike(group: Group, other: int) -> None:
    _check_alike(group, replace(TRAIN, threads=2 if group.rank == other else 1))


def test_processes_that_do_not_compute_alike_are_refused_by_all() -> None:
    told = (
        "train: the 2 processes have different threads; layers that each of them moves by itself would drift apart. "
        "Give every machine the same image and the same kind of processor"
    )
    for error in in_group(2, alike, 1):
        with pytest.raises(RecpruneError, match=f"^{re.escape(told)}$"):
            raise error
    assert in_group(2, alike, 7) == [None, None]


def test_a_process_that_reaches_nobody_ends_so_that_all_are_started_again() -> None:
    code = (
        "from recprune.training.distributed import group; group.MEET_SECONDS = 0.5\nwith group.joined(leads=True): pass"
    )
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "RANK": "0", "WORLD_SIZE": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == os.EX_TEMPFAIL, done.stderr
    assert "train: a process did not reach the others within 0.5 s" in done.stdout
