"""A line's pass in several processes: each learns its slice of every batch, and moves its own rows of the table.

The batches are those of one process, in the same order. A slice's loss is its share of the whole batch's mean, so that
gradients are summed over the processes, and every process then takes the same step. What is summed in another order
differs in its last bits.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from recprune.data.features import FeatureSet
from recprune.errors import NotFiniteError
from recprune.model import network
from recprune.model.line import Line
from recprune.model.linear import products_in
from recprune.model.network import Tensors
from recprune.settings import TrainSettings
from recprune.training.distributed.group import Group
from recprune.training.distributed.table import LookUp, unite
from recprune.training.hooks import Hook
from recprune.training.incremental import Pass, PassReport, move_rows
from recprune.training.midway import LineCheckpoints, Midway


class GroupPass(Pass):
    """A line in the middle of its pass, in this process of a group.

    Args:
        group: that learns together.
        line: with this process's share of the table's rows; changed in place.
        begun: what of the pass is done; 0 batches at its beginning.
        settings: learning rates and batch size.
        hook: what a policy does in every step, the same in every process.
    """

    def __init__(
        self, group: Group, line: Line, begun: Midway, settings: TrainSettings, hook: Hook | None = None
    ) -> None:
        super().__init__(line, settings, hook)
        self.group, self.begun = group, begun
        self.importance, self.begins = begun.importance, begun.batches == 0

    def learn(
        self,
        events: FeatureSet,
        seed: int,
        kept: LineCheckpoints | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> PassReport:
        """Learn events, each once, from where the pass is.

        Args:
            events: the same in every process, best mapped into memory: only this process's slices are read.
            seed: of the order.
            kept: the leader's checkpoints of this pass; None in the others.
            progress: called with rows done and rows in all.

        Raises:
            NotFiniteError: in every process, if a loss or a gradient is not finite in one; nothing of that batch was
                applied.
            SettingsError: this machine has not what `precision` asks for.
        """
        order, batch = np.random.default_rng(seed).permutation(len(events)), self.settings.batch
        total, starts = self.begun.loss, range(0, len(order), batch)
        try:
            for done, start in enumerate(starts[self.begun.batches :], self.begun.batches):
                rows = np.sort(order[start : start + batch])
                with products_in(self.settings.precision, self.device):
                    loss, due = self._learn_batch(events, rows, kept is not None and kept.is_due())
                total += loss * len(rows)
                if progress and done % 16 == 0:
                    progress(start, len(order))
                if due:
                    self._keep(kept, Midway(done + 1, total, self.importance))
        finally:
            self.keep_state()
        self.keep_importance(len(order))
        return PassReport(len(order), len(starts), total / len(order))

    def _keep(self, kept: LineCheckpoints | None, midway: Midway) -> None:
        """Bring the whole line together in the leader, which has it written."""
        begun = time.monotonic()
        self.keep_state()
        whole = unite(self.group, self.line, kept.step.folder / "whole" if kept else None)
        if whole is not None and kept is not None:
            own = {name: tensor.clone() for name, tensor in midway.importance.items()}
            kept.write(whole, Midway(midway.batches, midway.loss, own), begun)

    def _learn_batch(self, events: FeatureSet, rows: NDArray[np.int64], due: bool) -> tuple[float, bool]:
        """Take one step; returns the batch's mean loss before it, and whether a checkpoint is due after it."""
        line, group, mine = self.line, self.group, slice_of(len(rows), self.group)
        part = events.rows(rows[mine] if mine.stop > mine.start else rows[:1])
        label, weight = torch.from_numpy(part.label), torch.from_numpy(part.weight)
        if mine.stop == mine.start:  # a batch of fewer rows than processes: some row, which counts for nothing
            weight = torch.zeros_like(weight)
        ids, factor = line.look_up(torch.from_numpy(part.ids))  # (B, S)
        asked = LookUp.of(group, ids, sum(line.sizes))
        looked_up = asked.fetch(group, line.weights["embedding"]).requires_grad_()  # (B, S, D)
        embedded = network.pooled(line.shape, looked_up, factor)  # (B, F, D)
        kept: Tensors = {}
        layers = self._effective()
        numbers = line.standardize(torch.from_numpy(part.numbers))
        logit = network.logits(line.shape, layers, embedded, numbers, kept)
        losses = functional.binary_cross_entropy_with_logits(logit, label, weight, reduction="sum") / len(rows)
        found = torch.autograd.grad(losses, [*layers.values(), looked_up, *kept.values()])
        gradients = dict(zip([*layers, "embedding", *kept], found, strict=True))
        by_row = asked.summed(gradients["embedding"])
        told = Told.of(losses.detach(), gradients, kept, due)
        work = group.begin_total(told.flat)
        by_row = asked.give_back(group, by_row)
        group.end(work)
        told.check()
        self._move({name: told.summed(name) for name in layers})
        move_rows(line, asked.own.unsqueeze(1), by_row.unsqueeze(1), self.settings)
        for name in kept:
            each = told.summed(name) * len(rows) ** 2
            self.importance[name] = self.importance[name] + each if name in self.importance else each
        return told.loss, told.due


def slice_of(rows: int, group: Group) -> slice:
    """Return which rows of a batch this process learns; sizes differ by one at most."""
    return slice(rows * group.rank // group.world, rows * (group.rank + 1) // group.world)


class Told:
    """What the processes sum up in every step, in one tensor: one message takes as long as a small one.

    In this order: the layers' gradients; per group Σ over rows of (a · ∂L/∂a)², L being the batch's mean loss; which
    gradients are not finite; the loss; whether there is to be a checkpoint.
    """

    def __init__(self, flat: Tensor, sizes: dict[str, torch.Size], names: list[str]) -> None:
        self.flat, self.names = flat, names
        counts = [size.numel() for size in sizes.values()]
        parts: tuple[Tensor, ...] = torch.split(flat, [*counts, len(names), 1, 1])
        self._parts = {name: part.view(sizes[name]) for name, part in zip(sizes, parts, strict=False)}
        self._broken, self._loss, self._due = parts[-3:]

    @classmethod
    @torch.no_grad()
    def of(cls, loss: Tensor, gradients: Tensors, kept: Tensors, due: bool) -> "Told":
        """Write down what one process has to tell.

        Args:
            loss: its share of the batch's.
            gradients: by name, of the layers, of the looked-up rows, of what is kept.
            kept: the groups' activations.
            due: whether it wants a checkpoint.
        """
        total = torch.stack([loss, *(g.sum() for g in gradients.values())])
        broken = torch.zeros(len(gradients))
        if not bool(torch.isfinite(total).all()):
            broken = torch.stack([(~torch.isfinite(g)).any().float() for g in gradients.values()])
        parts = {name: g for name, g in gradients.items() if name not in kept and name != "embedding"}
        for name, value in kept.items():
            product = gradients[name].mul_(
                value
            )  # in place: nobody reads these gradients, or what they are views of, any more
            product = product.sum(2) if product.dim() == 3 else product  # (B, groups)
            parts[name] = product.square_().sum(0)
        flat = [part.flatten() for part in parts.values()]
        told = torch.cat([*flat, broken, loss.reshape(1), torch.tensor([float(due)])])
        return cls(told, {name: part.shape for name, part in parts.items()}, list(gradients))

    def summed(self, name: str) -> Tensor:
        """Return the sum of a layer's gradients, or of a group's."""
        return self._parts[name]

    @property
    def loss(self) -> float:
        """Return the batch's mean loss."""
        return float(self._loss)

    @property
    def due(self) -> bool:
        """Say whether a process wants a checkpoint."""
        return float(self._due) > 0

    def check(self) -> None:
        """Raise NotFiniteError if a loss or a gradient is not finite, in any process."""
        if bool(torch.isfinite(self.flat.sum())) and not bool(self._broken.any()):
            return
        bad = [name for name, broken in zip(self.names, self._broken.tolist(), strict=True) if broken]
        bad += [n for n in self.names if n in self._parts and n not in bad and not _finite(self._parts[n])]
        if bad or not _finite(self._loss):  # a sum may overflow where no gradient did
            listed = ", ".join(bad) or "none"
            raise NotFiniteError(f"the loss is {self.loss}; gradients that are not finite: {listed}")


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
