"""One incremental pass: every row once, in a seeded order; Adam for layers, for rows a row-wise Adagrad that forgets.

Legend: B rows of a batch, F categorical features, S ids that are looked up per row, D embedding width, U distinct table
rows of a batch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError
from recprune.model import network
from recprune.model.device import chosen, lent, moved, sent
from recprune.model.line import Line, learn_scale
from recprune.model.linear import products_in
from recprune.model.network import Tensors
from recprune.settings import TrainSettings
from recprune.training.adam import Adam
from recprune.training.hooks import Hook, StepView
from recprune.training.midway import LineCheckpoints, Midway

START = 0.25
"""Gradient of a row's summed loss, root mean square over its columns, that every table row is taken to have had.

Without it the first step of a row has the length of the learning rate, however little its gradient says.
"""
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
    hook: Hook | None = None,
    share: float = 1.0,
    *,
    kept: LineCheckpoints | None = None,
) -> PassReport:
    """Train a line on events, each once, in place; measure the importance of its groups.

    Args:
        line: changed in place.
        events: encoded with the vocabulary that the line's rows follow.
        settings: learning rates and batch size.
        seed: of the order.
        progress: called with rows done and rows in all.
        hook: what a policy does in every step.
        share: of the day's pass that these events are; the table's rows forget by as much.
        kept: checkpoints of this pass: it goes on from the last one, and keeps more. Its `key` must hold all that
            the pass follows from; a hook has nothing of its own beyond the line's `masks` and `extra`.

    Raises:
        NotFiniteError: a loss or a gradient is not finite; nothing of that batch was applied, the line
            holds what the batches before it taught (and has the day's scale of the numbers, and forgot).
        SettingsError: this machine has not what `device` or `precision` asks for.
    """
    if len(events) == 0:
        return PassReport(0, 0, float("nan"))
    begun = kept.restore(line) if kept else None
    if begun is None:
        learn_scale(line, events.numbers)
        line.moments["embedding.square"].mul_(settings.embedding_memory**share)
    order = np.random.default_rng(seed).permutation(len(events))
    total, first = (begun.loss, begun.batches) if begun else (0.0, 0)
    starts = range(0, len(order), settings.batch)
    device = chosen(settings.device)
    with lent(line, device), products_in(settings.precision, device):
        running = Pass(line, settings, hook, begun)
        try:
            for done, start in enumerate(starts[first:], first):
                part = events.rows(np.sort(order[start : start + settings.batch]))
                total += running.step(part) * len(part)
                if progress and done % 16 == 0:
                    progress(start, len(order))
                if kept and kept.is_due():
                    running.keep_state()
                    kept.keep(line, Midway(done + 1, total, running.importance))
        finally:
            running.keep_state()
        running.keep_importance(len(order))
    return PassReport(len(order), len(starts), total / len(order))


class Pass:
    """A line in the middle of its pass, on any device: layers as leaves of the gradient, Adam's state, importance."""

    def __init__(self, line: Line, settings: TrainSettings, hook: Hook | None, begun: Midway | None = None) -> None:
        self.line, self.settings, self.hook = line, settings, hook
        self.device = line.weights["embedding"].device
        self.layers = {name: line.weights[name].detach().requires_grad_() for name in line.layer_names()}
        self.adam = Adam(line, list(self.layers), settings.learning_rate)
        self.importance = moved(begun.importance, self.device) if begun else {}
        self.begins = begun is None

    def step(self, part: FeatureSet) -> float:
        """Take one step; returns the batch's mean loss before it."""
        line = self.line
        arrays = (part.ids, part.numbers, part.label, part.weight)
        ids, raw, label, weight = (sent(torch.from_numpy(array), self.device) for array in arrays)
        rows, factor = line.look_up(ids)  # (B, S)
        looked_up = line.rows(rows).requires_grad_()  # (B, S, D)
        embedded = network.pooled(line.shape, looked_up, factor)  # (B, F, D)
        numbers = line.standardize(raw)
        kept: Tensors = {}
        layers = self._effective()
        logit = network.logits(line.shape, layers, embedded, numbers, kept)
        loss = functional.binary_cross_entropy_with_logits(logit, label, weight)
        gradients = torch.autograd.grad(loss, [*layers.values(), looked_up, *kept.values()])
        found = _checked(loss, dict(zip([*layers, "embedding", *kept], gradients, strict=True)))
        self._move(dict(zip(layers, gradients, strict=False)))
        move_rows(line, rows, gradients[len(layers)], self.settings)
        _measure(self.importance, kept, gradients[len(layers) + 1 :])
        return found

    def keep_state(self) -> None:
        """Put weights and Adam's state back into the line."""
        line = self.line
        for name, tensor in self.layers.items():
            line.weights[name] = tensor.detach()
            line.moments[f"{name}.first"] = self.adam.first[name]
            line.moments[f"{name}.second"] = self.adam.second[name]
        line.step = self.adam.steps

    def keep_importance(self, rows: int) -> None:
        """Merge the pass's importance, summed over so many rows, into the line's."""
        for name, total in self.importance.items():
            fresh, old = total / rows, self.line.importance.get(name)
            self.line.importance[name] = fresh if old is None else MEMORY * old + (1 - MEMORY) * fresh

    def _effective(self) -> Tensors:
        """Return what the forward pass reads: the layers, or what the hook makes of them."""
        if self.hook is None:
            return self.layers
        with torch.no_grad():
            read = self.hook.effective(self.layers, self.line.masks)
        return {n: t if t is self.layers[n] else t.detach().requires_grad_() for n, t in read.items()}

    def _move(self, gradients: Tensors) -> None:
        if self.hook is None:
            self.adam.step(self.layers, gradients)
            return
        view = StepView(
            step=self.adam.steps,
            weights=self.layers,
            gradients=gradients,
            first=self.adam.first,
            second=self.adam.second,
            masks=self.line.masks,
            extra=self.line.extra,
            begins=self.begins,
        )
        with torch.no_grad():
            self.hook.before(view)
        self.adam.step(self.layers, gradients)
        view.gradients = {}
        with torch.no_grad():
            self.hook.after(view)
        self.begins = False


def _checked(loss: Tensor, gradients: Tensors) -> float:
    """Return the loss once it and the gradients are known to be finite; of a GPU all is read in one go."""
    read: list[float] = torch.stack([loss.detach(), *(g.sum() for g in gradients.values())]).cpu().tolist()
    if all(map(math.isfinite, read)):
        return read[0]
    bad = [name for name, g in gradients.items() if not bool(torch.isfinite(g).all())]
    if bad or not math.isfinite(read[0]):  # a sum may overflow where no gradient did
        listed = ", ".join(bad) or "none"
        raise NotFiniteError(f"the loss is {read[0]}; gradients that are not finite: {listed}")
    return read[0]


@torch.no_grad()
def move_rows(line: Line, rows: Tensor, gradient: Tensor, settings: TrainSettings) -> None:
    """Move the rows of a batch: G ← G + mean(g²), w ← w − rate · g / √(G + G₀), one G per row.

    G₀ = (START / batch)², as g is of the batch's mean loss. At the beginning of a day's pass every G was multiplied
    by `embedding_memory`: with Adagrad's sum over all time (Duchi et al. 2011) rows stop following the drift.
    """
    if rows.numel() == 0:
        return
    found, order = torch.sort(rows.flatten(), stable=True)
    touched, counts = torch.unique_consecutive(found, return_counts=True)  # (U,)
    starts = torch.cumsum(counts, 0) - counts
    summed = functional.embedding_bag(order, gradient.flatten(0, 1), starts, mode="sum")  # (U, D)
    square = line.moments["embedding.square"]
    square.index_add_(0, touched, summed.square().mean(1))
    root = (square.index_select(0, touched) + (START / settings.batch) ** 2).sqrt_().unsqueeze(1)
    moved = line.rows(touched).sub_(summed.div_(root), alpha=settings.embedding_learning_rate)
    line.weights["embedding"].index_copy_(0, touched, moved)


@torch.no_grad()
def _measure(importance: Tensors, kept: Tensors, gradients: tuple[Tensor, ...]) -> None:
    """Add Σ over rows of (a · ∂L/∂a)², L being the row's own loss: the batch mean's gradient times B.

    A group that is a whole vector has Σ_d a_d · ∂L/∂a_d in the place of a · ∂L/∂a.
    """
    for (name, value), gradient in zip(kept.items(), gradients, strict=True):
        product = gradient.mul_(value)  # in place: nobody reads these gradients after this
        product = product.sum(2) if product.dim() == 3 else product  # (B, groups)
        each = product.square_().sum(0) * len(value) ** 2
        importance[name] = importance[name] + each if name in importance else each
