"""Which groups go: importance of all kinds on one scale, ranked by loss per saved FLOP.

Importance E[(a · ∂L/∂a)²] does not compare between kinds of groups (Ye et al. 2020 call for a sparsity
per layer that is learned; how is ours). So the cheapest 5, 10 and 20 % of one kind alone are removed and
the loss increase on events is measured; the slope of that increase over the removed importance turns
importance of that kind into loss.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import torch
from torch import Tensor

from recprune.data.features import FeatureSet
from recprune.errors import RecpruneError
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.shrink import keep_groups
from recprune.settings import PruneSettings
from recprune.training.scoring import mean_log_loss, score

ABLATED = (0.05, 0.1, 0.2)
SMALLEST_SHARE = 0.1
"""A kind whose removal did not hurt is still given this share of the median kind's loss per group."""


def ablate(line: Line, events: FeatureSet) -> dict[str, float]:
    """Return, per kind, the loss increase per unit of removed importance.

    The slope through the origin: Σ δ·s / Σ s² over the ablated shares, s the removed importance and δ
    the increase of the mean log loss on the events.
    """
    whole = mean_log_loss(events.label, score(line, events))
    slopes, per_group = {}, {}
    for kind, importance in line.importance.items():
        order = torch.argsort(importance, stable=True)
        above = below = 0.0
        for share in ABLATED:
            cut = max(1, int(share * len(order)))
            kept = torch.sort(order[cut:]).values
            if len(kept) == 0:
                continue
            removed = float(importance[order[:cut]].double().sum())
            increase = mean_log_loss(events.label, score(keep_groups(line, {kind: kept}), events)) - whole
            above += increase * removed
            below += removed * removed
        mean = float(importance.double().mean())
        slopes[kind] = above / below if below > 0 else 0.0
        per_group[kind] = slopes[kind] * mean
    positive = [loss for loss in per_group.values() if loss > 0]
    floor = SMALLEST_SHARE * median(positive) if positive else 1.0
    for kind, importance in line.importance.items():
        mean = max(float(importance.double().mean()), 1e-30)
        slopes[kind] = max(floor, per_group[kind]) / mean
    return slopes


@dataclass(slots=True)
class Removal:
    """What a carving step keeps."""

    kept: dict[str, Tensor]
    """Ascending positions per kind."""
    flops: int
    floors: list[str] = field(default_factory=list)
    """Kinds that reached their floor."""


def remove(line: Line, slopes: Mapping[str, float], target: int, settings: PruneSettings) -> Removal:
    """Walk the removal path until the network has at most `target` FLOPs.

    At each step the group with the least loss per saved FLOP, given the widths at that point, goes; of
    equal ones the first kind by name, columns before pairs, the first position. From the first network in
    the target, groups come back in reverse order as long as they fit.

    Raises:
        RecpruneError: the floors are reached first; says what is reachable.
    """
    walk = _Walk(line, slopes, _floors(line.shape, settings))
    while walk.flops > target:
        if not walk.step():
            raise RecpruneError(
                f"prune.budget asks for {target} FLOPs, but the floors (prune.min_neurons "
                f"{settings.min_neurons}, prune.min_inputs {settings.min_inputs}) stop at {walk.flops}; "
                "raise the budget or lower the floors."
            )
    for kind, group in reversed(walk.path):
        if walk.flops + walk.saved(kind, group) <= target:
            walk.put_back(kind, group)
    kept = {kind: torch.tensor(sorted(groups), dtype=torch.int64) for kind, groups in walk.kept.items()}
    return Removal(kept, walk.flops, walk.floors_reached())


def _queues(line: Line) -> list[tuple[str, list[int]]]:
    """Return the groups of each kind, cheapest first; inputs in two queues, as a pair saves more than a column."""
    queues = []
    for kind in sorted(line.importance):
        order = [int(i) for i in torch.argsort(line.importance[kind], stable=True)]
        pairs = {i for i in order if kind == "inputs" and line.shape.inputs[i] >= line.shape.columns}
        queues += [(kind, [i for i in order if i not in pairs]), (kind, [i for i in order if i in pairs])]
    return queues


def _floors(shape: Shape, settings: PruneSettings) -> dict[str, int]:
    floors = {kind: min(settings.min_neurons, width) for kind, width in shape.widths().items()}
    return {**floors, "inputs": max(1, round(settings.min_inputs * shape.all_inputs))}


class _Walk:
    """The removal path: current widths, what is kept, what went in which order."""

    def __init__(self, line: Line, slopes: Mapping[str, float], floors: Mapping[str, int]) -> None:
        self.shape, self.floors = line.shape, floors
        self.loss = {kind: (v.double() * slopes[kind]).tolist() for kind, v in line.importance.items()}
        self.kept = {kind: set(range(len(v))) for kind, v in line.importance.items()}
        self.widths = line.shape.widths()
        self.flops = line.shape.flops()
        self.path: list[tuple[str, int]] = []
        self._queues = [(kind, deque(groups)) for kind, groups in _queues(line)]

    def step(self) -> bool:
        """Remove the cheapest group; False if every kind is at its floor."""
        best: tuple[float, str, deque[int]] | None = None
        for kind, queue in self._queues:
            if not queue or self.widths[kind] <= self.floors[kind]:
                continue
            price = self.loss[kind][queue[0]] / self.saved(kind, queue[0])
            if best is None or price < best[0]:
                best = (price, kind, queue)
        if best is None:
            return False
        _, kind, queue = best
        group = queue.popleft()
        self.flops -= self.saved(kind, group)
        self.widths[kind] -= 1
        self.kept[kind].discard(group)
        self.path.append((kind, group))
        return True

    def put_back(self, kind: str, group: int) -> None:
        """Undo the removal of a group."""
        self.flops += self.saved(kind, group)
        self.widths[kind] += 1
        self.kept[kind].add(group)

    def saved(self, kind: str, group: int) -> int:
        """Return the FLOPs that hang on one group, given the current widths of its neighbours."""
        if kind == "inputs":
            pair = self.shape.inputs[group] >= self.shape.columns
            after = self.widths.get("top.0", 1)
            return 2 * after + (2 * self.shape.embedding if pair else 0)
        part, layer = kind.split(".")
        last = self.shape.embedding if part == "bottom" else 1
        first = 2 * len(self.shape.numeric) if part == "bottom" else self.widths["inputs"]
        before = self.widths[f"{part}.{int(layer) - 1}"] if int(layer) > 0 else first
        return 2 * (before + self.widths.get(f"{part}.{int(layer) + 1}", last))

    def floors_reached(self) -> list[str]:
        """Name the kinds that cannot shrink further."""
        return [kind for kind in sorted(self.kept) if self.widths[kind] <= self.floors[kind]]


def replace_inputs(
    served: Line, guide: Mapping[int, float], limit: int, settings: PruneSettings
) -> tuple[Sequence[int], Sequence[int]]:
    """Choose inputs to swap: the least important used ones against the most important unused ones.

    Args:
        served: the sparse line.
        guide: importance of every input of the dense network.
        limit: FLOPs that the network may have afterwards (a pair costs more than a column).
        settings: most swaps a day, and how many times as important the new input must be.

    Returns:
        Dropped and added inputs, by their numbers in the dense network, pairwise.
    """
    used = sorted(served.shape.inputs, key=lambda i: (guide[i], i))
    unused = sorted(set(guide) - set(served.shape.inputs), key=lambda i: (-guide[i], i))
    most, ratio = settings.swap, settings.swap_ratio
    dropped: list[int] = []
    added: list[int] = []
    for old, new in zip(used[:most], unused[:most], strict=False):
        trial = replace(served.shape, inputs=tuple(sorted({*served.shape.inputs} - {*dropped, old} | {*added, new})))
        if guide[new] >= ratio * guide[old] and guide[new] > 0 and trial.flops() <= limit:
            dropped.append(old)
            added.append(new)
    return dropped, added
