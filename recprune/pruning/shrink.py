"""Remove, swap and add groups for real: weights, biases, optimizer state, table rows and importance change their sizes.

Groups: `inputs` (columns and pairs that the network reads), whole `vectors` where the family attends to them,
neurons of the hidden layers `top.i` and `bottom.i`. Where they lie in which tensor the family declares
(`Shape.cuts`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recprune.model import network
from recprune.model.line import Line
from recprune.model.shape import Shape

_TABLES = ("embedding", "embedding.square")


def keep_groups(line: Line, kept: Mapping[str, Tensor]) -> Line:
    """Return a line with only the kept groups; the given line stays as it is.

    A vector of which nothing is read any more goes with its table rows, or with the bottom tower.

    Args:
        line: dense or carved.
        kept: per kind ascending positions among the line's own groups; a kind left out stays whole.
    """
    kept, cuts, small = _with_vectors(line.shape, kept), line.shape.cuts(), line.copy()
    for kind, index in kept.items():
        for cut in cuts[kind]:
            _take(small, cut.tensor, cut.axis, torch.isin(torch.tensor(cut.groups), index).nonzero().squeeze(1))
        for groups in (small.importance, small.origin):
            if kind in groups:
                groups[kind] = groups[kind][index]
        small.shape = _shape_with(small.shape, line.shape, kind, index)
    _drop_unread(small, line.shape)
    return small


def _with_vectors(shape: Shape, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what is kept, without the inputs of vectors that go."""
    if "vectors" not in kept:
        return dict(kept)
    left = {shape.attended[i] for i in kept["vectors"].tolist()}
    inputs = kept.get("inputs", torch.arange(len(shape.inputs))).tolist()
    inputs = [i for i in inputs if set(shape.vectors_of(shape.inputs[i])) <= left]
    return {**kept, "inputs": torch.tensor(inputs, dtype=torch.int64)}


def _shape_with(shape: Shape, before: Shape, kind: str, index: Tensor) -> Shape:
    if kind == "inputs":
        return replace(shape, inputs=tuple(before.inputs[i] for i in index.tolist()))
    if kind == "vectors":
        return replace(shape, attended=tuple(before.attended[i] for i in index.tolist()))
    return shape.resized(kind, len(index))


def _take(line: Line, name: str, axis: int, index: Tensor) -> None:
    def taken(tensor: Tensor) -> Tensor:
        return tensor.index_select(axis, index).contiguous()

    line.weights[name] = taken(line.weights[name])
    for moment in (f"{name}.first", f"{name}.second"):
        line.moments[moment] = taken(line.moments[moment])
    if name in line.masks:
        line.masks[name] = taken(line.masks[name])
    for extra in line.extra:
        if extra.rpartition(".")[0] == name:
            line.extra[extra] = taken(line.extra[extra])


def _drop_unread(line: Line, before: Shape) -> None:
    """Remove table rows of features that are not read any more, and the bottom tower with the numbers."""
    had, has = before.reading.vectors, line.shape.reading.vectors
    if had == has:
        return
    if before.numeric and 0 in had and 0 not in has:
        for tensors in (line.weights, line.moments, line.importance, line.origin, line.masks, line.extra):
            for name in [n for n in tensors if n.startswith("bottom.")]:
                del tensors[name]
        line.shape = replace(line.shape, bottom=())
    features = set(line.shape.reading.features.tolist())
    for tensors, name, parts in zip((line.weights, line.moments), _TABLES, _tables(line), strict=True):
        tensors[name] = torch.cat([part if i in features else part[:0] for i, part in enumerate(parts)])
    line.sizes = tuple(size if feature in features else 0 for feature, size in enumerate(line.sizes))


def swap_inputs(line: Line, dropped: Sequence[int], added: Sequence[int], donor: Line | None = None) -> Line:
    """Replace inputs of a network, by their numbers in the dense network.

    A new input starts at weight 0, so that nothing that was learned changes, with first moment 0 and
    the tensor's mean second moment (a zero one under an old step count would make the first step ~3 × too
    long), of a tensor that had no inputs at all its bias's. Its importance starts at 0. A feature that was
    not read gets its table rows from the donor.

    Args:
        line: carved; stays as it is.
        dropped: inputs that the line reads.
        added: inputs that it does not read.
        donor: a line that reads every feature of the added inputs, with the same vocabulary.

    Raises:
        ValueError: an added input needs a vector that the line does not read, and it cannot be taken from
            a donor: there is none that reads it, or it is the numbers' vector, or the family attends to
            vectors.
    """
    left = [i for i, number in enumerate(line.shape.inputs) if number not in set(dropped)]
    merged = tuple(sorted([*(line.shape.inputs[i] for i in left), *added]))
    wider = _read_more(line, added, donor)
    place = {number: i for i, number in enumerate(line.shape.inputs)}
    source = torch.tensor([place.get(number, -1) for number in merged])
    target = replace(wider.shape, inputs=merged)
    for before, after in zip(line.shape.cuts()["inputs"], target.cuts()["inputs"], strict=True):
        fill = _mean_second(line, before.tensor)
        _spread_all(wider, before.tensor, after.axis, _along(before.groups, after.groups, source), fill)
    if "inputs" in wider.importance:
        wider.importance["inputs"] = _spread(wider.importance["inputs"], 0, source, 0.0)
    wider.shape = target
    _drop_unread(wider, replace(target, inputs=tuple(sorted({*line.shape.inputs, *added}))))
    return wider


def grow_neurons(line: Line, layer: str, count: int, seed: int) -> Line:
    """Add neurons to a hidden layer; the given line stays as it is, and so does what the network computes.

    A new neuron's incoming weights are drawn as for an untrained network of the new size, its outgoing ones
    and its bias are 0. Its moments and its importance start like those of a new input; see `swap_inputs`. It
    gets the lowest numbers that no neuron of the layer has.

    Args:
        line: any.
        layer: `top.i` or `bottom.i`.
        count: neurons to add.
        seed: of the drawn weights.
    """
    taken_numbers, wider = set(line.origin[layer].tolist()), line.copy()
    free = [n for n in range(len(taken_numbers) + count) if n not in taken_numbers][:count]
    numbers = sorted(taken_numbers | set(free))
    place = {number: i for i, number in enumerate(line.origin[layer].tolist())}
    source = torch.tensor([place.get(number, -1) for number in numbers], dtype=torch.int64)
    wider.shape = line.shape.resized(layer, len(numbers))
    for cut in line.shape.cuts()[layer]:
        _spread_all(wider, cut.tensor, cut.axis, source, float(line.moments[f"{cut.tensor}.second"].mean()))
    drawn = network.initial_weights(wider.shape, torch.Generator().manual_seed(seed))[f"{layer}.weight"]
    wider.weights[f"{layer}.weight"][source < 0] = drawn[source < 0]
    wider.origin[layer] = torch.tensor(numbers, dtype=torch.int64)
    if layer in wider.importance:
        wider.importance[layer] = _spread(wider.importance[layer], 0, source, 0.0)
    return wider


def _read_more(line: Line, added: Sequence[int], donor: Line | None) -> Line:
    """Return a copy of the line with table rows for the features that the added inputs need."""
    wider, shape = line.copy(), line.shape
    shift = 1 if shape.numeric else 0
    needed = {v for i in added for v in shape.vectors_of(i)} - set(shape.reading.vectors)
    if not needed:
        return wider
    if donor is None or shape.attended or not needed <= set(donor.shape.reading.vectors) or (shift and 0 in needed):
        names = ", ".join(shape.vectors[v] for v in sorted(needed))
        raise ValueError(f"the line does not read {names}, and there is nothing to take {names} from")
    sizes = list(line.sizes)
    tables = list(zip(_tables(wider), _tables(donor), strict=True))
    for vector in needed:
        feature = vector - shift
        sizes[feature] = donor.sizes[feature]
        for ours, theirs in tables:
            ours[feature] = theirs[feature]
    for tensors, name, (ours, _) in zip((wider.weights, wider.moments), _TABLES, tables, strict=True):
        tensors[name] = torch.cat(ours)
    wider.sizes = tuple(sizes)
    return wider


def _tables(line: Line) -> tuple[list[Tensor], list[Tensor]]:
    """Return the table's rows and their moments, by feature."""
    rows, square = line.weights[_TABLES[0]], line.moments[_TABLES[1]]
    return list(torch.split(rows, list(line.sizes))), list(torch.split(square, list(line.sizes)))


def _along(before: Sequence[int], after: Sequence[int], source: Tensor) -> Tensor:
    """Return, for each index along an axis, where it lay before: −1 if it is new."""
    place = {group: i for i, group in enumerate(before)}
    return torch.tensor([place.get(int(source[group]), -1) for group in after], dtype=torch.int64)


def _mean_second(line: Line, name: str) -> float:
    """Return a tensor's mean second moment; DeepFM's tower may read no columns, and only its bias has some."""
    second = line.moments[f"{name}.second"]
    return float((second if second.numel() else line.moments[f"{name.removesuffix('weight')}bias.second"]).mean())


def _spread_all(line: Line, name: str, axis: int, source: Tensor, mean_second: float) -> None:
    second = f"{name}.second"
    line.weights[name] = _spread(line.weights[name], axis, source, 0.0)
    line.moments[f"{name}.first"] = _spread(line.moments[f"{name}.first"], axis, source, 0.0)
    line.moments[second] = _spread(line.moments[second], axis, source, mean_second)
    if name in line.masks:
        line.masks[name] = _spread(line.masks[name], axis, source, 1.0)
    for extra in line.extra:
        if extra.rpartition(".")[0] == name:
            line.extra[extra] = _spread(line.extra[extra], axis, source, 0.0)


def _spread(tensor: Tensor, axis: int, source: Tensor, fill: float) -> Tensor:
    """Return slices `source` of a tensor along an axis, a slice of `fill` where the source is −1."""
    size = list(tensor.shape)
    size[axis] = 1
    padded = torch.cat([tensor, torch.full(size, fill, dtype=tensor.dtype)], dim=axis)
    return padded.index_select(axis, torch.where(source < 0, tensor.shape[axis], source)).contiguous()
