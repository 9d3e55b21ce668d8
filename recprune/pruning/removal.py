"""The removal path: groups of all kinds go one after another, least loss per saved cost first.

"Asked 0.2" means the first network on this path that costs at most 0.2 of the dense one, with whatever still
fits put back in reverse order.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb

import torch
from torch import Tensor

from recprune.errors import RecpruneError
from recprune.model.families import FAMILIES
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.cost import Cost
from recprune.settings import PruneSettings


@dataclass(slots=True)
class Removal:
    """What a carving step keeps."""

    kept: dict[str, Tensor]
    """Ascending positions per kind."""
    cost: float
    floors: list[str] = field(default_factory=list)
    """Kinds that reached their floor."""


def remove(line: Line, losses: Mapping[str, Tensor], cost: Cost, target: float, settings: PruneSettings) -> Removal:
    """Walk the removal path until the network costs at most `target`.

    At each step the group with the least loss per saved cost, given the widths at that point, goes, or, where
    look-ups cost, all inputs of a feature together, as only the last of them saves the look-up; of
    equal ones the first kind by name, columns before pairs, the first position. When every kind is at its
    floor, inputs are exchanged for cheaper ones that went. From the first network in the target, groups
    come back in reverse order as long as they fit.

    Args:
        line: its importance orders the groups of a kind.
        losses: per kind, the loss that each group's removal costs; see `ranking.ablate`.
        cost: what is limited.
        target: the limit.
        settings: floors.

    Raises:
        RecpruneError: the floors are reached first; says what is reachable.
    """
    walk = _Walk(line, losses, cost, _floors(line.shape, settings))
    while walk.cost > target:
        if not walk.step() and not walk.exchange():
            raise RecpruneError(
                f"prune.budget asks for {target:,.6g} {cost.unit}, but the floors (prune.min_neurons "
                f"{settings.min_neurons}, prune.min_inputs {settings.min_inputs}) stop at {walk.cost:,.6g}; "
                "raise the budget or lower the floors."
            )
    for kind, group in reversed(walk.path):
        walk.put_back(kind, group, target)
    kept = {kind: torch.tensor(sorted(groups), dtype=torch.int64) for kind, groups in walk.kept.items()}
    return Removal(kept, walk.cost, walk.floors_reached())


def smallest_cost(dense: Shape, cost: Cost, settings: PruneSettings) -> float:
    """Return the cost below which no carving comes, whatever is important: all kinds at their floors.

    The inputs left are those that cost least.
    """
    floors = _floors(dense, settings)
    return min(cost(dense, {**floors, **few}) for few in _few_inputs(dense, floors))


def _few_inputs(dense: Shape, floors: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Yield the ways to read the fewest inputs: columns or pairs, of as few vectors as have them, numbers or not."""
    fewest, width = floors["inputs"], dense.embedding
    for numbers in {0, int(bool(dense.numeric))}:
        most = len(dense.vectors) - int(bool(dense.numeric) and not numbers)
        pairs = comb(most, 2) if FAMILIES[dense.family].has_pairs else 0
        for columns in range(max(0, fewest - pairs), min(fewest, most * width) + 1):
            few = next(v for v in range(1, most + 1) if v * width >= columns and comb(v, 2) >= fewest - columns)
            yield {"columns": columns, "pairs": fewest - columns, "vectors": few, "numbers": numbers}


def _floors(shape: Shape, settings: PruneSettings) -> dict[str, int]:
    floors = {kind: min(settings.min_neurons, width) for kind, width in shape.widths().items()}
    floors["inputs"] = max(1, round(settings.min_inputs * shape.all_inputs))
    if "vectors" in floors:
        floors["vectors"] = -(-floors["inputs"] // shape.embedding)
    return floors


def _queues(line: Line) -> list[tuple[str, deque[int]]]:
    """Return the groups of each kind, cheapest first; inputs in two queues, as a pair saves more than a column."""
    queues = []
    for kind in sorted(line.importance):
        order = [int(i) for i in torch.argsort(line.importance[kind], stable=True)]
        pairs = {i for i in order if kind == "inputs" and line.shape.inputs[i] >= line.shape.columns}
        queues += [(kind, deque(i for i in order if i not in pairs)), (kind, deque(i for i in order if i in pairs))]
    return queues


class _Walk:
    """The removal path: what is kept, what it costs, what went in which order."""

    def __init__(self, line: Line, losses: Mapping[str, Tensor], cost: Cost, floors: Mapping[str, int]) -> None:
        self.shape, self.floors, self._cost_of = line.shape, floors, cost
        self.loss = {kind: values.tolist() for kind, values in losses.items()}
        self.kept = {kind: set(range(len(v))) for kind, v in line.importance.items()}
        self.counts = line.shape.counts()
        self.cost, self._smooth = cost(self.shape, self.counts), cost.smooth(self.shape, self.counts)
        self.path: list[tuple[str, int]] = []
        self._queues = _queues(line)
        self._vectors = [line.shape.vectors_of(i) for i in line.shape.inputs]
        self._readers = Counter(v for vectors in self._vectors for v in vectors)
        """How many inputs that are left read each vector."""
        self._by_loss = sorted(self.kept["inputs"], key=lambda i: (self.loss["inputs"][i], i))

    def step(self) -> bool:
        """Remove the cheapest group, or all inputs of a vector; False if every kind is at its floor."""
        best: tuple[float, float, str, list[int]] | None = None
        for kind, groups in self._candidates():
            less = self._cost_of.smooth(self.shape, self._without(kind, groups))
            price = sum(self.loss[kind][group] for group in groups) / max(self._smooth - less, 1e-12)
            if best is None or price < best[0]:
                best = (price, less, kind, groups)
        if best is None:
            return False
        _, self._smooth, kind, groups = best
        self._remove(kind, groups)
        self.cost = self._cost_of(self.shape, self.counts)
        return True

    def exchange(self) -> bool:
        """Read an input that went instead of one that costs more, at the least loss per saved cost; False if none."""
        best: tuple[float, int, int] | None = None
        for old in self._heads_by_vectors(self.kept["inputs"], sign=1.0, readers=1):
            left = self._without("inputs", [old])
            self._readers.subtract(self._vectors[old])
            gone = [i for i in range(len(self._vectors)) if i not in self.kept["inputs"] and self._is_readable(i)]
            for new in self._heads_by_vectors(gone, sign=-1.0, readers=0):
                counts = dict(left)
                self._shift(counts, [new], 1)
                saved = self._smooth - self._cost_of.smooth(self.shape, counts)
                if saved > 1e-12:
                    price = (self.loss["inputs"][old] - self.loss["inputs"][new]) / saved
                    best = min(best or (price, old, new), (price, old, new))
            self._readers.update(self._vectors[old])
        if best is None:
            return False
        self._remove("inputs", [best[1]])
        self._add("inputs", best[2], self._with("inputs", best[2]))
        self.cost, self._smooth = (cost(self.shape, self.counts) for cost in (self._cost_of, self._cost_of.smooth))
        return True

    def _heads_by_vectors(self, inputs: Iterable[int], *, sign: float, readers: int) -> list[int]:
        """Return, of inputs that save or cost the same, the one with the least loss, or with sign −1 the most.

        They do if they are both columns or both pairs and the same of their vectors have so many readers.
        """
        heads: dict[tuple[int, tuple[int, ...]], int] = {}
        for i in sorted(inputs, key=lambda i: (sign * self.loss["inputs"][i], i)):
            vectors = self._vectors[i]
            heads.setdefault((len(vectors), tuple(v for v in vectors if self._readers[v] == readers)), i)
        return list(heads.values())

    def _candidates(self) -> Iterator[tuple[str, list[int]]]:
        """Yield what may go next: of each queue the group that matters least; where look-ups cost, whole features."""
        for kind, queue in self._queues:
            while queue and queue[0] not in self.kept[kind]:
                queue.popleft()  # it went, by itself or with its vector
            yield from ((kind, [group]) for group in self._heads(kind, queue) if self._may_go(kind, [group]))
        if self._cost_of.look_ups and not self.shape.attended:
            for vector in [v for v, readers in self._readers.items() if readers > 1]:
                groups = [i for i in self._by_loss if i in self.kept["inputs"] and vector in self._vectors[i]]
                if self._may_go("inputs", groups):
                    yield "inputs", groups

    def _heads(self, kind: str, queue: deque[int]) -> list[int]:
        """Return, of a queue's groups whose removal saves the same, the one that matters least."""
        if kind == "vectors":
            found: dict[tuple[int, bool], int] = {}
            for group in (g for g in queue if g in self.kept[kind]):
                number = self.shape.attended[group]
                found.setdefault((self._readers[number], self._is_numbers(number)), group)
            return list(found.values())
        if kind != "inputs" or self.shape.attended or 1 not in self._readers.values():
            return [queue[0]] if queue else []
        heads: dict[tuple[int, bool], int] = {}  # an input that is the only reader of a vector saves it, too
        for group in (g for g in queue if g in self.kept[kind]):
            alone = [v for v in self._vectors[group] if self._readers[v] == 1]
            heads.setdefault((len(alone), any(self._is_numbers(v) for v in alone)), group)
        return list(heads.values())

    def put_back(self, kind: str, group: int, target: float) -> None:
        """Undo the removal of a group if the network then still costs at most `target`."""
        if kind == "vectors" or (kind.startswith("bottom") and not self.counts["numbers"]):
            return  # its inputs are gone; a tower that nothing reads stays away
        if group in self.kept[kind] or (kind == "inputs" and not self._is_readable(group)):
            return
        more = self._with(kind, group)
        cost = self._cost_of(self.shape, more)
        if cost <= target:
            self.cost = cost
            self._add(kind, group, more)

    def _add(self, kind: str, group: int, counts: dict[str, int]) -> None:
        self.counts = counts
        self.kept[kind].add(group)
        if kind == "inputs":
            self._readers.update(self._vectors[group])

    def floors_reached(self) -> list[str]:
        """Name the kinds that cannot shrink further."""
        return [kind for kind in sorted(self.kept) if len(self.kept[kind]) <= self.floors[kind]]

    def _may_go(self, kind: str, groups: Sequence[int]) -> bool:
        if kind.startswith("bottom") and not self.counts["numbers"]:
            return False
        if kind == "vectors":
            left = len(self.kept["inputs"]) - self._readers[self.shape.attended[groups[0]]]
            return len(self.kept[kind]) > self.floors[kind] and left >= self.floors["inputs"]
        return len(self.kept[kind]) - len(groups) >= self.floors[kind]

    def _is_readable(self, group: int) -> bool:
        if not self.shape.attended:
            return True
        return self.shape.attended.index(self._vectors[group][0]) in self.kept["vectors"]

    def _without(self, kind: str, groups: Sequence[int]) -> dict[str, int]:
        counts = dict(self.counts)
        if kind == "vectors":
            number = self.shape.attended[groups[0]]
            counts["vectors"] -= 1
            counts["columns"] -= self._readers[number]
            counts["numbers"] = int(counts["numbers"] and not self._is_numbers(number))
        elif kind == "inputs":
            self._shift(counts, groups, -1)
        else:
            counts[kind] -= 1
        return counts

    def _with(self, kind: str, group: int) -> dict[str, int]:
        counts = dict(self.counts)
        if kind == "inputs":
            self._shift(counts, [group], 1)
        else:
            counts[kind] += 1
        return counts

    def _shift(self, counts: dict[str, int], groups: Sequence[int], by: int) -> None:
        """Count inputs more or less, with the vectors that only they read."""
        for group in groups:
            counts["pairs" if len(self._vectors[group]) == 2 else "columns"] += by
        if self.shape.attended:  # they are attended to whether read or not
            return
        for vector, readers in Counter(v for group in groups for v in self._vectors[group]).items():
            if self._readers[vector] == (readers if by < 0 else 0):
                counts["vectors"] += by
                counts["numbers"] += by * self._is_numbers(vector)

    def _is_numbers(self, vector: int) -> bool:
        return bool(self.shape.numeric) and vector == 0

    def _remove(self, kind: str, groups: Sequence[int]) -> None:
        self.counts = self._without(kind, groups)
        gone = list(groups) if kind == "inputs" else []
        if kind == "vectors":
            number = self.shape.attended[groups[0]]
            gone = [i for i in self.kept["inputs"] if number in self._vectors[i]]
        for i in gone:
            self.kept["inputs"].discard(i)
            self._readers.subtract(self._vectors[i])
        self.kept[kind] -= set(groups)
        self.path += [(kind, group) for group in groups]
