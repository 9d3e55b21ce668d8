"""The removal path once more, with whole networks: every price from two costs, every candidate tried."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from recprune.model.families.family import Counts
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.cost import Cost, Flops
from recprune.settings import PruneSettings

Kept = dict[str, list[int]]


class LookUps(Flops):
    """FLOPs and 50 for each vector that is read, as a look-up takes time."""

    unit = "FLOPs and look-ups"
    look_ups = True

    def __call__(self, shape: Shape, counts: Counts) -> float:
        return super().__call__(shape, counts) + 50 * counts["vectors"]

    smooth = __call__


def network_of(shape: Shape, kept: Mapping[str, list[int]]) -> Shape:
    """Return the shape with these positions of each kind."""
    small = replace(shape, inputs=tuple(shape.inputs[i] for i in kept["inputs"]))
    if "vectors" in kept:
        small = replace(small, attended=tuple(shape.attended[i] for i in kept["vectors"]))
    for kind, groups in kept.items():
        if kind not in ("inputs", "vectors"):
            small = small.resized(kind, len(groups))
    return small


def without(shape: Shape, kept: Kept, kind: str, group: int) -> Kept:
    """Return what is kept without a group; a vector takes its inputs along."""
    left = {**kept, kind: [g for g in kept[kind] if g != group]}
    if kind == "vectors":
        vector = shape.attended[group]
        left["inputs"] = [i for i in left["inputs"] if vector not in shape.vectors_of(shape.inputs[i])]
    return left


def losses_of(line: Line, slopes: Mapping[str, float] | None = None) -> dict[str, Tensor]:
    """Return losses that are importance times a slope per kind, 1 without slopes."""
    return {kind: values.double() * (slopes or {}).get(kind, 1.0) for kind, values in line.importance.items()}


def slow_removal(
    line: Line, losses: Mapping[str, Tensor], cost: Cost, target: float, settings: PruneSettings
) -> Kept | None:
    """Return what is kept, None if the floors are reached first.

    Of groups whose removal saves the same the least important one must go first, whatever the losses say.
    """
    shape = line.shape
    kept = {kind: list(range(width)) for kind, width in sorted(shape.widths().items())}
    floors = floors_of(shape, settings)
    path = []
    while _cost(cost, shape, kept) > target:
        every = [(k, g) for k, groups in kept.items() for g in groups if _may_go(shape, kept, floors, k, g)]
        if not every:
            old, new = _exchange(line, losses, cost, kept)
            if old < 0:
                return None
            kept = {**kept, "inputs": sorted([*(i for i in kept["inputs"] if i != old), new])}
            path.append(("inputs", old))
            continue
        alike: dict[object, list[tuple[str, int]]] = {}
        for each in every:
            alike.setdefault(_saves(shape, kept, *each), []).append(each)
        heads = [min(groups, key=lambda g: (float(line.importance[g[0]][g[1]]), g[1])) for groups in alike.values()]
        best = [min(heads, key=lambda g: _rank(line, losses, cost, kept, *g))]
        least = _rank(line, losses, cost, kept, *best[0])[0]
        for whole in _features(line, losses, cost, kept, floors["inputs"]):
            loss = sum(float(losses[kind][group]) for kind, group in whole)
            saved = _cost(cost, shape, kept) - _cost(cost, shape, _without_all(shape, kept, whole))
            if loss / max(saved, 1e-12) < least:
                best, least = whole, loss / max(saved, 1e-12)
        kept = _without_all(shape, kept, best)
        path += best
    for kind, group in reversed(path):
        again = {**kept, kind: sorted({*kept[kind], group})}
        if can_return(shape, kept, kind, group) and _cost(cost, shape, again) <= target:
            kept = again
    return kept


def _exchange(line: Line, losses: Mapping[str, Tensor], cost: Cost, kept: Kept) -> tuple[int, int]:
    """Return the input that goes and the one that comes for it; −1 and −1 if no exchange saves anything."""
    shape, loss = line.shape, [float(v) for v in losses["inputs"]]
    found = []
    for old in kept["inputs"]:
        for new in (i for i in range(len(shape.inputs)) if i not in kept["inputs"]):
            if can_return(shape, kept, "inputs", new):
                after = {**kept, "inputs": sorted([*(i for i in kept["inputs"] if i != old), new])}
                saved = _cost(cost, shape, kept) - _cost(cost, shape, after)
                if saved > 1e-12:
                    found.append(((loss[old] - loss[new]) / saved, old, new))
    return min(found)[1:] if found else (-1, -1)


def _features(
    line: Line, losses: Mapping[str, Tensor], cost: Cost, kept: Kept, fewest: int
) -> Iterator[list[tuple[str, int]]]:
    """Yield, where look-ups cost, all inputs of each vector that several inputs read, least loss first."""
    shape = line.shape
    for vector in _read(shape, kept) if cost.look_ups and not shape.attended else ():
        readers = [i for i in kept["inputs"] if vector in shape.vectors_of(shape.inputs[i])]
        if len(readers) > 1 and len(kept["inputs"]) - len(readers) >= fewest:
            yield [("inputs", i) for i in sorted(readers, key=lambda i: (float(losses["inputs"][i]), i))]


def _without_all(shape: Shape, kept: Kept, groups: Sequence[tuple[str, int]]) -> Kept:
    for kind, group in groups:
        kept = without(shape, kept, kind, group)
    return kept


def floors_of(shape: Shape, settings: PruneSettings) -> dict[str, int]:
    """Return how many of each kind must stay."""
    floors = {kind: min(settings.min_neurons, width) for kind, width in shape.widths().items()}
    floors["inputs"] = max(1, round(settings.min_inputs * shape.all_inputs))
    floors["vectors"] = -(-floors["inputs"] // shape.embedding)
    return floors


def can_return(shape: Shape, kept: Kept, kind: str, group: int) -> bool:
    """Say whether a group that went can come back: a vector cannot, nor what belongs to something that is gone."""
    if kind == "vectors" or (kind.startswith("bottom") and not _reads_numbers(shape, kept)):
        return False
    if kind != "inputs" or not shape.attended:
        return True
    return shape.vectors_of(shape.inputs[group])[0] in [shape.attended[i] for i in kept["vectors"]]


def _may_go(shape: Shape, kept: Kept, floors: dict[str, int], kind: str, group: int) -> bool:
    if kind.startswith("bottom") and not _reads_numbers(shape, kept):
        return False
    left = without(shape, kept, kind, group)
    return len(left[kind]) >= floors[kind] and (kind != "vectors" or len(left["inputs"]) >= floors["inputs"])


def _saves(shape: Shape, kept: Kept, kind: str, group: int) -> object:
    """Return what is the same for all groups whose removal saves the same."""
    if kind == "vectors":
        inputs = len(kept["inputs"]) - len(without(shape, kept, kind, group)["inputs"])
        return kind, inputs, bool(shape.numeric) and shape.attended[group] == 0
    if kind == "inputs":
        left = without(shape, kept, kind, group)
        freed = set(_read(shape, kept)) - set(_read(shape, left))
        return kind, shape.inputs[group] >= shape.columns, len(freed), bool(shape.numeric) and 0 in freed
    return kind


def _rank(
    line: Line, losses: Mapping[str, Tensor], cost: Cost, kept: Kept, kind: str, group: int
) -> tuple[float, str, bool, float, int]:
    """Return the loss per saved cost; then the kind's name, columns before pairs, importance, the position."""
    shape, loss = line.shape, float(losses[kind][group])
    saved = _cost(cost, shape, kept) - _cost(cost, shape, without(shape, kept, kind, group))
    is_pair = kind == "inputs" and shape.inputs[group] >= shape.columns
    return loss / max(saved, 1e-12), kind, is_pair, float(line.importance[kind][group]), group


def _reads_numbers(shape: Shape, kept: Kept) -> bool:
    return bool(shape.numeric) and 0 in _read(shape, kept)


def _read(shape: Shape, kept: Kept) -> tuple[int, ...]:
    return network_of(shape, kept).reading.vectors


def _cost(cost: Cost, shape: Shape, kept: Kept) -> float:
    small = network_of(shape, kept)
    return cost(small, small.counts())
