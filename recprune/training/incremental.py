"""One incremental pass: every row once, in a seeded order; Adam for layers, row-wise Adagrad for rows.

Legend: B rows of a batch, F categorical features, D embedding width, U distinct table rows of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError
from recprune.model import dlrm
from recprune.model.dlrm import Tensors
from recprune.model.line import Line, learn_scale
from recprune.settings import TrainSettings

EPS = 1e-8
MEMORY = 0.5
"""Weight of the earlier passes in a group's importance."""


@dataclass(slots=True)
class PassReport:
    """What one pass did."""

    rows: int
    steps: int
    mean_loss: float
    """Mean training loss, each batch before its step."""


def learn(
    line: Line,
    events: FeatureSet,
    settings: TrainSettings,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> PassReport:
    """Train a line on events, each once, in place; measure the importance of its groups.

    Args:
        line: changed in place.
        events: encoded with the vocabulary that the line's rows follow.
        settings: learning rates and batch size.
        seed: of the order.
        progress: called with rows done and rows in all.

    Raises:
        NotFiniteError: a loss or a gradient is not finite; nothing of that batch was applied, the line
            holds what the batches before it taught.
    """
    if len(events) == 0:
        return PassReport(0, 0, float("nan"))
    learn_scale(line, events.numbers)
    names = line.layer_names()
    layers = {name: line.weights[name].detach().requires_grad_() for name in names}
    adam = _adam(line, layers, settings.learning_rate)
    order = np.random.default_rng(seed).permutation(len(events))
    importance: Tensors = {}
    offsets, total = line.offsets(), 0.0
    starts = range(0, len(order), settings.batch)
    try:
        for done, start in enumerate(starts):
            part = events.rows(np.sort(order[start : start + settings.batch]))
            total += _step(line, layers, adam, part, offsets, settings, importance) * len(part)
            if progress and done % 16 == 0:
                progress(start, len(order))
    finally:
        _keep_state(line, layers, adam)
    _keep_importance(line, importance, len(order))
    return PassReport(len(order), len(starts), total / len(order))


def _step(
    line: Line,
    layers: Tensors,
    adam: torch.optim.Adam,
    part: FeatureSet,
    offsets: Tensor,
    settings: TrainSettings,
    importance: Tensors,
) -> float:
    rows = torch.from_numpy(part.ids).long() + offsets  # (B, F)
    embedded = line.weights["embedding"][rows].requires_grad_()  # (B, F, D)
    numbers = line.standardize(torch.from_numpy(part.numbers))
    kept: Tensors = {}
    logit = dlrm.logits(line.shape, layers, embedded, numbers, kept)
    loss = functional.binary_cross_entropy_with_logits(logit, torch.from_numpy(part.label))
    targets = [*layers.values(), embedded, *kept.values()]
    gradients = torch.autograd.grad(loss, targets)
    _check_finite(loss, dict(zip([*layers, "embedding", *kept], gradients, strict=True)))
    for name, gradient in zip(layers, gradients, strict=False):
        layers[name].grad = gradient
    adam.step()
    _adagrad(line, rows, gradients[len(layers)], settings.embedding_learning_rate)
    _measure(importance, kept, gradients[len(layers) + 1 :])
    return float(loss.detach())


def _check_finite(loss: Tensor, gradients: Tensors) -> None:
    if torch.isfinite(loss) and all(bool(torch.isfinite(g.sum())) for g in gradients.values()):
        return
    bad = [name for name, g in gradients.items() if not bool(torch.isfinite(g).all())]
    if bad or not torch.isfinite(loss):  # a sum may overflow where no gradient did
        listed = ", ".join(bad) or "none"
        raise NotFiniteError(f"the loss is {float(loss.detach())}; gradients that are not finite: {listed}")


@torch.no_grad()
def _adagrad(line: Line, rows: Tensor, gradient: Tensor, rate: float) -> None:
    """Move the rows of a batch: G ← G + mean(g²), w ← w − rate · g / (√G + ε), one G per row."""
    touched, inverse = torch.unique(rows.flatten(), return_inverse=True)  # (U,), (B·F,)
    summed = torch.zeros(len(touched), gradient.shape[2])
    summed.index_add_(0, inverse, gradient.flatten(0, 1))
    square = line.moments["embedding.square"]
    square[touched] += summed.square().mean(1)
    line.weights["embedding"][touched] -= rate * summed / (square[touched].sqrt() + EPS).unsqueeze(1)


@torch.no_grad()
def _measure(importance: Tensors, kept: Tensors, gradients: tuple[Tensor, ...]) -> None:
    """Add Σ over rows of (a · ∂L/∂a)², L being the row's own loss: the batch mean's gradient times B."""
    for (name, value), gradient in zip(kept.items(), gradients, strict=True):
        each = (value * gradient * len(value)).square().sum(0)
        importance[name] = importance[name] + each if name in importance else each


def _keep_importance(line: Line, summed: Tensors, rows: int) -> None:
    for name, total in summed.items():
        fresh, old = total / rows, line.importance.get(name)
        line.importance[name] = fresh if old is None else MEMORY * old + (1 - MEMORY) * fresh


def _adam(line: Line, layers: Tensors, rate: float) -> torch.optim.Adam:
    adam = torch.optim.Adam(layers.values(), lr=rate, fused=True)
    for name, tensor in layers.items():
        adam.state[tensor] = {
            "step": torch.tensor(float(line.step)),
            "exp_avg": line.moments[f"{name}.first"],
            "exp_avg_sq": line.moments[f"{name}.second"],
        }
    return adam


def _keep_state(line: Line, layers: Tensors, adam: torch.optim.Adam) -> None:
    for name, tensor in layers.items():
        line.weights[name] = tensor.detach()
        line.moments[f"{name}.first"] = adam.state[tensor]["exp_avg"]
        line.moments[f"{name}.second"] = adam.state[tensor]["exp_avg_sq"]
    line.step = int(adam.state[next(iter(layers.values()))]["step"]) if layers else line.step
