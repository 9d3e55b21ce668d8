from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from recprune.errors import RecpruneError
from recprune.model.line import Line
from recprune.training.distributed import table
from recprune.training.distributed.group import Group
from recprune.training.distributed.table import LookUp, divide, unite
from tests.networks import line_of, masked, same, shape_of
from tests.training.distributed.groups import in_group

pytestmark = pytest.mark.usefixtures("workspace")


def there_and_back(group: Group, block: int) -> tuple[Line, Line | None]:
    table.BLOCK = block
    share = divide(group, masked(line_of(shape_of(3, 1))) if group.leads else None)
    return share, unite(group, share, Path("whole") if group.leads else None)


@pytest.mark.parametrize(("world", "block"), [(1, 2**22), (2, 7), (3, 2**22), (3, 1)])
def test_a_line_is_divided_and_united_as_it_was(world: int, block: int) -> None:
    whole = masked(line_of(shape_of(3, 1)))
    found = in_group(world, there_and_back, block, leader=world - 1)
    for rank, (share, united) in enumerate(found):
        assert torch.equal(share.weights["embedding"], whole.weights["embedding"][rank::world])
        assert torch.equal(share.moments["embedding.square"], whole.moments["embedding.square"][rank::world])
        assert list(share.weights) == list(whole.weights)
        assert torch.equal(share.masks["top.0.weight"], whole.masks["top.0.weight"])
        assert (united is not None) == (rank == world - 1)
    united = found[-1][1]
    assert same(united, whole)
    assert list(united.weights) == list(whole.weights)


def of_numbers_alone(group: Group) -> bool:
    line = line_of(shape_of(0, 2))
    united = unite(group, divide(group, line if group.leads else None), Path("whole") if group.leads else None)
    return united is None or same(united, line)


def test_a_line_without_a_table_is_divided_too() -> None:
    assert in_group(2, of_numbers_alone) == [True, True]


def drifted(group: Group) -> None:
    share = divide(group, line_of(shape_of(2, 1)) if group.leads else None)
    if not group.leads:
        bias = share.weights["top.0.bias"]
        share.weights["top.0.bias"] = torch.nextafter(bias, bias + 1)
    unite(group, share, Path("whole") if group.leads else None)


def test_processes_whose_layers_drifted_apart_leave_no_line_behind() -> None:
    for error in in_group(2, drifted):
        assert isinstance(error, RecpruneError)
        assert str(error).startswith("after 7 steps 1 of 2 processes hold other layers than the first one: ")


def slices() -> list[Tensor]:
    """The ids of three slices of a batch: rows that several read, that one reads often, that nobody reads; no rows."""
    return [
        torch.tensor([[0, 7], [7, 9]]),
        torch.tensor([[7, 1], [3, 3], [3, 10]]),
        torch.zeros(0, 2, dtype=torch.long),
    ]


def look_up(group: Group) -> tuple[Tensor, Tensor, Tensor]:
    whole = torch.arange(22.0).view(11, 2)
    ids = slices()[group.rank]
    asked = LookUp.of(group, ids, len(whole))
    gradient = torch.arange(float(ids.numel() * 2)).view(*ids.shape, 2) + 100 * group.rank
    given = asked.give_back(group, asked.summed(gradient))
    moved = torch.zeros(len(range(group.rank, 11, group.world)), 2).index_add_(0, asked.own, given)
    return asked.fetch(group, whole[group.rank :: group.world].clone()), moved, gradient


def test_rows_come_from_who_holds_them_and_their_gradients_go_back() -> None:
    found = in_group(3, look_up)
    whole, expected = torch.arange(22.0).view(11, 2), torch.zeros(11, 2)
    for ids, (rows, _, gradient) in zip(slices(), found, strict=True):
        assert torch.equal(rows, whole[ids])
        expected.index_add_(0, ids.flatten(), gradient.flatten(0, 1))
    united = torch.zeros(11, 2)
    for rank, (_, moved, _) in enumerate(found):
        united[rank::3] = moved
    assert np.array_equal(united.numpy(), expected.numpy())
