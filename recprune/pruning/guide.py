"""Which inputs are worth reading: as the dense line sees it, or as the sparse line's own gradient does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from recprune.data.features import FeatureSet
from recprune.model import network
from recprune.model.line import Line
from recprune.model.shape import Shape
from recprune.pruning.budget import Budget
from recprune.pruning.shrink import swap_inputs
from recprune.settings import PruneSettings

CHUNK = 256
"""Rows whose gradients are summed before they are squared."""


def dense_guide(dense: Line) -> dict[int, float]:
    """Return the importance of every input in the dense line."""
    return dict(zip(dense.shape.inputs, dense.importance["inputs"].tolist(), strict=True))


def own_guide(line: Line, events: FeatureSet) -> dict[int, float]:
    """Return, for every input that the line could read, how much its own loss asks for its weights.

    Mean over chunks of ‖∂L/∂w‖², w the input's weights, as RigL grows weights (Evci et al. 2020); an input
    that is not read has w = 0. An input of a feature that is not read at all is left out.
    """
    wide = swap_inputs(line, [], line.shape.unread())
    cuts = wide.shape.cuts()["inputs"]
    layers = {n: t.detach().requires_grad_(n in {c.tensor for c in cuts}) for n, t in wide.weights.items()}
    total = torch.zeros(len(wide.shape.inputs))
    chunks = range(0, len(events), CHUNK)
    for start in chunks:
        part = events.rows(slice(start, start + CHUNK))
        rows, factor = wide.look_up(torch.tensor(part.ids))
        embedded = network.pooled(wide.shape, layers["embedding"][rows], factor)
        numbers = wide.standardize(torch.tensor(part.numbers))
        logit = network.logits(wide.shape, layers, embedded, numbers)
        loss = functional.binary_cross_entropy_with_logits(logit, torch.tensor(part.label), torch.tensor(part.weight))
        gradients = torch.autograd.grad(loss, [layers[cut.tensor] for cut in cuts])
        for cut, gradient in zip(cuts, gradients, strict=True):
            total.index_add_(0, torch.tensor(cut.groups), _squares(gradient, cut.axis))
    return dict(zip(wide.shape.inputs, (total / max(len(chunks), 1)).tolist(), strict=True))


def _squares(gradient: Tensor, axis: int) -> Tensor:
    return gradient.square() if gradient.dim() == 1 else gradient.square().sum(1 - axis)


def choose_swap(
    line: Line,
    used: Mapping[int, float],
    unused: Mapping[int, float],
    budget: Budget,
    settings: PruneSettings,
) -> tuple[Sequence[int], Sequence[int]]:
    """Choose inputs to swap: the least important used ones against the most important unused ones.

    Args:
        line: the sparse line.
        used: importance of the inputs that it reads, others are passed over.
        unused: importance of the inputs that it might read, on the same scale.
        budget: a swap may not take the line beyond it (a pair costs more than a column), or, if it is
            beyond, further.
        settings: most swaps a day, and how many times as important the new input must be.

    Returns:
        Dropped and added inputs, by their numbers in the dense network, pairwise.
    """
    shape, reads = line.shape, set(line.shape.inputs)
    limit = max(budget.limit, budget.of(shape))
    worst = sorted((i for i in used if i in reads), key=lambda i: (used[i], i))[: settings.swap]
    may = (i for i in unused if i not in reads and _can_be_read(line, i))
    best = sorted(may, key=lambda i: (-unused[i], i))[: settings.swap]
    dropped: list[int] = []
    added: list[int] = []
    for old, new in zip(worst, best, strict=False):
        trial = replace(shape, inputs=tuple(sorted(reads - {*dropped, old} | {*added, new})))
        if not _keeps_numbers(shape, trial):
            continue
        if unused[new] >= settings.swap_ratio * used[old] and unused[new] > 0 and budget.of(trial) <= limit:
            dropped.append(old)
            added.append(new)
    return dropped, added


def _keeps_numbers(before: Shape, after: Shape) -> bool:
    """Say whether the numbers are still read: one noisy day must not cost the bottom tower, which cannot come back."""
    return not before.numeric or 0 not in before.reading.vectors or 0 in after.reading.vectors


def _can_be_read(line: Line, number: int) -> bool:
    """Say whether an input's vectors are read, or can be: table rows can be copied, a bottom tower cannot."""
    shape, needs = line.shape, set(line.shape.vectors_of(number))
    if shape.attended:
        return needs <= set(shape.attended)
    return not (shape.numeric and 0 in needs) or 0 in shape.reading.vectors
