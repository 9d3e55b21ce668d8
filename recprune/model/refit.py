"""Fit lines to a changed schema or shape: what stays is carried over by name, what is new changes nothing at first.

Legend: D embedding width, Q numbers.

Every axis of a layer tensor has *labels*: names of what its positions stand for (a column of a feature, a pair of
features, a neuron's number in the dense network, a number's value or its missing flag). A weight whose two labels both
exist in the old network is carried over; one of a new input is 0, so that the network computes what it did; the
weights into a new neuron are drawn, those out of it are 0. A layer that does not fit is drawn as if untrained.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recprune.model.change import Change
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape, uniform_shape

Label = Hashable
_NUMBERS = "\0numbers"
"""Stands for the numbers' vector, whatever a feature is called."""
Numbering = Mapping[str, Mapping[int, int]]
"""Per hidden layer the new number of each neuron of the dense network that stays."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Lines fitted to a changed dense network."""

    dense: Line
    served: Line
    restarted: bool
    """The served line is a new one, as nothing of its structure fits; a carving must begin."""


def refit(dense: Line, served: Line, target: Shape, sizes: Sequence[int], change: Change, seed: int) -> Fitted:
    """Return the two lines for a dense network of another shape; the given ones stay as they are.

    The served line keeps its share of the dense network's FLOPs: inputs of the least importance go until it does.
    New categorical features enter it by the daily swap, new numbers at once (at weight 0), if it reads numbers.

    Args:
        dense: of the day before.
        served: of the day before, carved from `dense`.
        target: the dense shape that the settings ask for.
        sizes: embedding rows per feature: a kept feature's as before, of a new one the unknown row alone.
        change: what fits.
        seed: of what is drawn.
    """
    share = served.shape.flops() / dense.shape.flops()
    numbering = _numbering(dense, target, change)
    wide = new_line(target, sizes, seed)
    if change.rows_fit:
        _carry_over(dense, wide, numbering, change)
    narrow = refit_served(served, target, sizes, change, numbering, seed, limit=share * target.flops())
    if narrow is not None:
        return Fitted(wide, narrow, restarted=False)
    shape = uniform_shape(target, lambda shape: shape.flops() <= share * target.flops())
    fresh = new_line(shape, sizes, seed)
    _copy_rows(wide, fresh, wide.shape.categorical)
    return Fitted(wide, fresh, restarted=True)


def refit_carved(
    dense: Line, served: Line, target: Shape, sizes: Sequence[int], change: Change, seed: int
) -> Line | None:
    """Return a carved line alone for another dense shape, None if it cannot be kept; see `refit`."""
    share = served.shape.flops() / dense.shape.flops()
    numbering = _numbering(dense, target, change)
    return refit_served(served, target, sizes, change, numbering, seed, limit=share * target.flops())


def _numbering(dense: Line, target: Shape, change: Change) -> Numbering:
    """Return which neurons stay: all of a layer that does not shrink, else the most important, renumbered."""
    found: dict[str, dict[int, int]] = {}
    widths = target.widths()
    for kind, origin in dense.origin.items():
        fits = change.bottom_fits if kind.startswith("bottom") else change.top_fits
        if kind not in widths or not fits:
            continue
        importance = dense.importance.get(kind, torch.zeros(len(origin)))
        best = torch.argsort(importance, descending=True, stable=True)[: widths[kind]].sort().values
        stay = origin.tolist() if widths[kind] >= len(origin) else origin[best].tolist()
        shrinks = widths[kind] < len(origin)
        found[kind] = {number: place if shrinks else number for place, number in enumerate(stay)}
    return found


def refit_served(
    served: Line,
    target: Shape,
    sizes: Sequence[int],
    change: Change,
    numbering: Numbering,
    seed: int,
    *,
    limit: float,
) -> Line | None:
    """Return the served line for another dense shape, None if it cannot be kept."""
    if not change.carved_fits:
        return None
    names = {label: number for number, label in enumerate(_input_labels(target, target.inputs))}
    old = _input_labels(served.shape, served.shape.inputs)
    importance = served.importance.get("inputs", torch.zeros(len(old))).tolist()
    stay = {names[label]: importance[i] for i, label in enumerate(old) if label in names and _stays(label, change)}
    origin = {
        kind: torch.tensor(
            sorted(numbering[kind][n] for n in numbers.tolist() if n in numbering[kind]), dtype=torch.int64
        )
        for kind, numbers in served.origin.items()
        if kind in numbering
    }
    if any(len(numbers) == 0 for numbers in origin.values()):
        return None
    shape = _within(served.shape, target, stay, origin, change, limit)
    if shape is None:
        return None
    small = new_line(shape, sizes, seed)
    small.origin = {kind: numbers for kind, numbers in origin.items() if kind in shape.widths()}
    _carry_over(served, small, numbering, change)
    return small


def _within(
    old: Shape, target: Shape, stay: Mapping[int, float], origin: Mapping[str, Tensor], change: Change, limit: float
) -> Shape | None:
    """Return the carved shape with as many of its inputs, the least important first to go, as the limit allows."""
    names = _vector_names(old)
    wanted = {names[v] for v in old.attended} & {*change.kept, _NUMBERS}
    attended = tuple(v for v, name in enumerate(_vector_names(target)) if name in wanted)
    order = sorted(stay, key=lambda i: (stay[i], i))
    for gone in range(len(order)):
        inputs = tuple(sorted(order[gone:]))
        shape = replace(
            target,
            inputs=inputs,
            attended=attended,
            bottom=tuple(len(origin[f"bottom.{i}"]) for i in range(len(target.bottom)) if f"bottom.{i}" in origin),
            top=tuple(len(origin[f"top.{i}"]) for i in range(len(target.top))),
        )
        if target.numeric and 0 not in shape.reading.vectors:
            shape = replace(shape, bottom=())
        if shape.flops() <= limit or gone == len(order) - 1:
            return shape
    return None


def _stays(label: Label, change: Change) -> bool:
    """Say whether an input is of features that stay."""
    assert isinstance(label, tuple)
    names = label[1:2] if label[0] == "column" else label[1:]
    return all(name in change.kept or name == _NUMBERS for name in names)


def _vector_names(shape: Shape) -> tuple[str, ...]:
    return ((_NUMBERS,) if shape.numeric else ()) + shape.categorical


def _input_labels(shape: Shape, inputs: Sequence[int]) -> list[Label]:
    """Name inputs by their features; a pair's dot product does not depend on their order."""
    found: list[Label] = []
    vectors = _vector_names(shape)
    for number in inputs:
        names = sorted(vectors[v] for v in shape.vectors_of(number))
        column = number < shape.columns
        found.append(("column", names[0], number % shape.embedding) if column else ("pair", *names))
    return found


def _labels(line: Line) -> dict[str, list[Label]]:
    """Return the labels of each kind of groups, and of what the bottom tower reads."""
    shape, vectors = line.shape, _vector_names(line.shape)
    found: dict[str, list[Label]] = {"inputs": _input_labels(shape, shape.inputs)}
    found |= {kind: origin.tolist() for kind, origin in line.origin.items()}
    found["vectors"] = [("column", vectors[v]) for v in shape.attended]
    found["numbers"] = [("column", name, part) for part in ("value", "missing") for name in shape.numeric]
    return found


def _stayed(labels: dict[str, list[Label]], numbering: Numbering, change: Change) -> dict[str, list[Label]]:
    """Return the labels that an old line's groups have in the new network; None where a group does not stay."""
    found: dict[str, list[Label]] = {}
    for kind, of in labels.items():
        if kind in ("inputs", "vectors", "numbers"):
            found[kind] = [label if _stays(label, change) else None for label in of]
        else:
            found[kind] = [numbering.get(kind, {}).get(n) for n in of if isinstance(n, int)]
    return found


def _axes(line: Line, labels: Mapping[str, list[Label]]) -> dict[tuple[str, int], list[Label]]:
    """Return the labels along each axis of each layer tensor; an axis without groups is labelled by position."""
    shape = line.shape
    found: dict[tuple[str, int], list[Label]] = {}
    for name, tensor in line.weights.items():
        for axis, size in enumerate(tensor.shape):
            found[name, axis] = list(range(size))
    for kind, cuts in shape.cuts().items():
        for cut in cuts:
            if kind in labels:
                found[cut.tensor, cut.axis] = [labels[kind][group] for group in cut.groups]
    if "bottom.0.weight" in line.weights:
        found["bottom.0.weight", 1] = labels["numbers"]
    return found


def _carry_over(old: Line, new: Line, numbering: Numbering, change: Change) -> None:
    """Put into a new line, in place, what stays of an old one."""
    before, after = _stayed(_labels(old), numbering, change), _labels(new)
    old_axes, new_axes = _axes(old, before), _axes(new, after)
    for name in new.layer_names():
        fits = change.bottom_fits if name.startswith("bottom") else change.top_fits
        if name not in old.weights or not fits:
            continue
        sources = [_source(old_axes[name, a], new_axes[name, a]) for a in range(new.weights[name].dim())]
        _carry_tensor(old, new, name, sources)
    for kind, values in old.importance.items():
        if kind in after and kind in new.shape.widths():
            new.importance[kind] = _gather(values, [_source(before[kind], after[kind])], 0.0)
    numbers = _source(before["numbers"], after["numbers"])[: len(new.shape.numeric)]
    for key, values in old.numbers.items():
        new.numbers[key] = _gather(values, [numbers], 0.0)
    _copy_rows(old, new, change.kept)
    new.step = old.step


def _carry_tensor(old: Line, new: Line, name: str, sources: list[Tensor]) -> None:
    drawn = new.weights[name]
    fresh = (sources[0] < 0).view(-1, *[1] * (drawn.dim() - 1))  # into a new neuron
    carried = _gather(old.weights[name], sources, 0.0)
    new.weights[name] = torch.where(fresh, drawn, carried)
    new.moments[f"{name}.first"] = _gather(old.moments[f"{name}.first"], sources, 0.0)
    # the second moment of what is new is 0, so that its first steps are long: with the tensor's mean, as after a
    # swap, weights that start at 0 and have small gradients learn for days what they learn in one (decision 14)
    new.moments[f"{name}.second"] = _gather(old.moments[f"{name}.second"], sources, 0.0)
    if name in old.masks:
        new.masks[name] = _gather(old.masks[name], sources, 1.0)
    for extra, values in old.extra.items():
        if extra.rpartition(".")[0] == name:
            new.extra[extra] = _gather(values, sources, 0.0)


def _source(before: Sequence[Label], after: Sequence[Label]) -> Tensor:
    """Return where each label lay before, −1 for a new one."""
    place = {label: i for i, label in enumerate(before) if label is not None}
    return torch.tensor([place.get(label, -1) for label in after], dtype=torch.int64)


def _gather(values: Tensor, sources: Sequence[Tensor], fill: float) -> Tensor:
    """Return the slices of a tensor that the sources name, along each axis, `fill` where one is −1."""
    for axis, source in enumerate(sources):
        size = list(values.shape)
        size[axis] = 1
        padded = torch.cat([values, torch.full(size, fill, dtype=values.dtype)], dim=axis)
        values = padded.index_select(axis, torch.where(source < 0, padded.shape[axis] - 1, source))
    return values.contiguous()


def _copy_rows(old: Line, new: Line, names: Sequence[str]) -> None:
    """Copy the table rows of the features that both lines read."""
    if old.shape.embedding != new.shape.embedding:
        return
    place, starts, firsts = {n: i for i, n in enumerate(old.shape.categorical)}, old.offsets(), new.offsets()
    for i, name in enumerate(new.shape.categorical):
        rows = new.sizes[i]
        if name not in names or name not in place or rows == 0 or old.sizes[place[name]] == 0:
            continue
        if old.sizes[place[name]] != rows:
            raise ValueError(f"{name} has {old.sizes[place[name]]} rows in the old line, {rows} in the new one")
        start, first = int(starts[place[name]]), int(firsts[i])
        new.weights["embedding"][first : first + rows] = old.weights["embedding"][start : start + rows]
        square = old.moments["embedding.square"][start : start + rows]
        new.moments["embedding.square"][first : first + rows] = square
