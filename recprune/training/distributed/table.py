"""A table whose rows are divided among processes: row r lies in process r mod P, there as row r div P.

Ids are numbered as they come, so that frequent ones stand together; by the remainder every process holds its share of
them, and of every feature.

Legend: B rows of a slice of a batch, S ids looked up per row, D embedding width, P processes, R rows of the table,
U distinct rows that a slice reads, N rows that all processes read of this one's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recprune.errors import RecpruneError
from recprune.model.line import Line
from recprune.model.network import Tensors
from recprune.model.shape import Shape
from recprune.training.distributed.group import Group

BLOCK = 2**22
"""Values of the table that are on their way at a time."""
_TABLE, _SQUARE = "embedding", "embedding.square"
_PARTS = ("weights", "moments", "numbers", "importance", "origin", "masks", "extra")


@dataclass(frozen=True, slots=True)
class LookUp:
    """Which rows a slice of a batch reads, who holds them, and who reads this process's rows."""

    where: Tensor
    """Of each id, the number of its row among those found (B, S)."""
    order: Tensor
    """Ids in the order of their rows (B · S,)."""
    starts: Tensor
    """Where the ids of each row start in that order (U,)."""
    asked: list[int]
    """Rows read of each process (P,); their sum is U."""
    given: list[int]
    """Rows that each process reads of this one (P,); their sum is N."""
    own: Tensor
    """The rows, as this process numbers them, that the processes read (N,)."""

    @classmethod
    def of(cls, group: Group, rows: Tensor, table: int) -> "LookUp":
        """Ask for rows (B, S) of a table of so many rows."""
        world, most = group.world, -(-table // group.world)
        placed = rows.flatten() % world * most + rows.flatten() // world
        placed, order = torch.sort(placed, stable=True)
        distinct, counts = torch.unique_consecutive(placed, return_counts=True)  # (U,)
        where = torch.empty_like(order)
        where[order] = torch.repeat_interleave(torch.arange(len(distinct)), counts)
        asked = torch.bincount(distinct // max(most, 1), minlength=world)
        given = group.swap(asked, [1] * world, [1] * world).tolist()
        own = group.swap(distinct % max(most, 1), asked.tolist(), given)
        return cls(where.view(rows.shape), order, torch.cumsum(counts, 0) - counts, asked.tolist(), given, own)

    def fetch(self, group: Group, table: Tensor) -> Tensor:
        """Return the rows that the ids look up, (B, S, D), given this process's share of the table."""
        found = group.swap(table.index_select(0, self.own), self.given, self.asked)  # (U, D)
        return found.index_select(0, self.where.flatten()).view(*self.where.shape, table.shape[1])

    def summed(self, gradient: Tensor) -> Tensor:
        """Return the gradient by each row that the slice read (U, D), given that by the rows looked up (B, S, D)."""
        flat = gradient.flatten(0, 1)
        return flat[:0] if len(flat) == 0 else functional.embedding_bag(self.order, flat, self.starts, mode="sum")

    def give_back(self, group: Group, summed: Tensor) -> Tensor:
        """Return what the processes found as gradients by this process's rows `own` (N, D)."""
        return group.swap(summed, self.asked, self.given)


def divide(group: Group, line: Line | None) -> Line:
    """Give every process the leader's line with its share of the table's rows, and so of their optimizer state.

    Args:
        group: that learns together.
        line: the leader's; its table may lie in a file. None in the other processes.
    """
    about = group.tell(None if line is None else _described(line))
    parts: dict[str, Tensors] = {part: {} for part in _PARTS}
    for part, name, kind, size in about["tensors"]:
        mine = getattr(line, part)[name] if line else torch.empty(size, dtype=getattr(torch, kind))
        parts[part][name] = group.give(mine.detach().clone(memory_format=torch.contiguous_format))
    sizes = tuple(about["sizes"])
    rows = len(range(group.rank, sum(sizes), group.world))
    for part, name, share in (("weights", _TABLE, (rows, about["width"])), ("moments", _SQUARE, (rows,))):
        mine = _scatter(group, getattr(line, part)[name] if line else None, torch.empty(share), sum(sizes))
        parts[part] = {name: mine, **parts[part]}
    return Line(shape=Shape.from_json(about["shape"]), sizes=sizes, step=about["step"], **parts)


def unite(group: Group, line: Line, folder: Path | None) -> Line | None:
    """Return the whole line in the leader, None in the others; it shares nothing with the divided one.

    Args:
        group: that learns together.
        line: with this process's share of the rows.
        folder: the leader's, for files that hold the table meanwhile, so that it need not fit into memory; None in the
            other processes.

    Raises:
        RecpruneError: the processes do not hold the same layers.
    """
    _check_layers(group, line)
    rows, found = sum(line.sizes), list[Tensor | None]()
    for name, share in ((_TABLE, line.weights[_TABLE]), (_SQUARE, line.moments[_SQUARE])):
        whole = _mapped(folder / name, (rows, *share.shape[1:])) if folder else None
        _gather(group, share, whole, rows)
        found.append(whole)
    table, square = found
    if table is None or square is None:
        return None
    rest = replace(line, weights=_without(line.weights, _TABLE), moments=_without(line.moments, _SQUARE)).copy()
    return replace(rest, weights={_TABLE: table, **rest.weights}, moments={_SQUARE: square, **rest.moments})


def _check_layers(group: Group, line: Line) -> None:
    """Check that all processes hold the same layers, to the last bit."""
    layers = [line.weights[name].detach().contiguous() for name in line.layer_names()]
    bits = [int(layer.view(torch.int32).long().sum()) for layer in layers]
    other = torch.tensor([int(group.tell(bits) != bits)])
    group.end(group.begin_total(other))
    if int(other):
        raise RecpruneError(
            f"after {line.step:,} steps {int(other)} of {group.world} processes hold other layers than the first one: "
            "their processors or memory do not compute alike; nothing of this was kept, the last checkpoint is sound"
        )


def _described(line: Line) -> dict[str, Any]:
    tensors = [
        (part, name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape))
        for part in _PARTS
        for name, tensor in getattr(line, part).items()
        if name not in (_TABLE, _SQUARE)
    ]
    facts = {"shape": line.shape.to_json(), "sizes": line.sizes, "step": line.step, "tensors": tensors}
    return facts | {"width": line.weights[_TABLE].shape[1]}


def _without(tensors: Tensors, left_out: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != left_out}


def _scatter(group: Group, table: Tensor | None, mine: Tensor, rows: int) -> Tensor:
    """Fill this process's share of the leader's table, of which a block at a time is on its way."""
    for start, stop in _blocks(group, mine, rows):
        if table is None:
            if len(mine[start:stop]):
                group.receive(mine[start:stop], group.leader)
            continue
        block = table[start * group.world : stop * group.world]
        for rank in range(min(group.world, len(block))):
            if rank == group.rank:
                mine[start:stop] = block[rank :: group.world]
            else:
                group.send(block[rank :: group.world], rank)
    return mine


def _gather(group: Group, share: Tensor, whole: Tensor | None, rows: int) -> None:
    """Fill the leader's table with all processes' shares, a block at a time."""
    for start, stop in _blocks(group, share, rows):
        if whole is None:
            if len(share[start:stop]):
                group.send(share[start:stop], group.leader)
            continue
        block = whole[start * group.world : stop * group.world]
        for rank in range(min(group.world, len(block))):
            if rank == group.rank:
                block[rank :: group.world] = share[start:stop]
            else:
                part = block[rank :: group.world].clone(memory_format=torch.contiguous_format)
                group.receive(part, rank)
                block[rank :: group.world] = part


def _blocks(group: Group, share: Tensor, rows: int) -> Iterator[tuple[int, int]]:
    """Yield first and last row of each block, as every process numbers its own; the last one may lack rows."""
    most, step = -(-rows // group.world), max(1, BLOCK // (group.world * max(1, share[:1].numel())))
    yield from ((start, min(start + step, most)) for start in range(0, most, step))


def _mapped(path: Path, size: tuple[int, ...]) -> Tensor:
    """Return a tensor of zeros that lies in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if 0 in size:  # which no file can be mapped for
        return torch.zeros(size)
    return torch.from_numpy(np.memmap(path, np.float32, "w+", shape=size))
