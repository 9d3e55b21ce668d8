"""Other people's training loops on the same network: plain PyTorch, deepctr-torch, FuxiCTR.

Each is given what makes it fastest: arrays in memory, numbers already standardized, no regularization, no metrics,
fused optimizers where they exist, batches ready-made where its loop takes them. recprune depends on neither library.
"""

import contextlib
import io
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.ladder.networks import NUMBERS, WIDTH, Network
from recprune.data.features import FeatureSet

INSTALL = "make bench installs it, from benchmarks/peers.txt"
Work = Callable[[FeatureSet], None]
"""Learns rows once, in batches."""


class Plain(nn.Module):
    """The network as a tutorial writes it, with an EmbeddingBag for each feature or one for all."""

    def __init__(self, network: Network, *, one_table: bool) -> None:
        super().__init__()
        sizes = network.sizes
        self.offsets = torch.from_numpy(np.cumsum(sizes) - np.array(sizes)) if one_table else None
        tables = [sum(sizes)] if one_table else sizes
        self.bags = nn.ModuleList(nn.EmbeddingBag(size, WIDTH, mode="sum", sparse=True) for size in tables)
        fields, self.interacts = len(sizes), network.interacts
        self.bottom = tower([NUMBERS, *network.bottom, WIDTH], last=nn.ReLU()) if network.interacts else None
        vectors = fields + 1
        inputs = WIDTH + vectors * (vectors - 1) // 2 if network.interacts else fields * WIDTH + NUMBERS
        self.top = tower([inputs, *network.top, 1])
        self.wide = None if network.interacts else nn.Linear(inputs, 1)
        self.register_buffer("pairs", torch.tril_indices(vectors, vectors, -1))

    def forward(self, ids: Tensor, numbers: Tensor) -> Tensor:
        """Return the logits."""
        if self.offsets is not None:
            found = self.bags[0]((ids + self.offsets).view(-1, 1)).view(len(ids), -1)
        else:
            found = torch.cat([bag(ids[:, i : i + 1]) for i, bag in enumerate(self.bags)], dim=1)
        if self.bottom is None:
            columns = torch.cat([numbers, found], dim=1)
            return (self.top(columns) + self.wide(columns)).squeeze(1)
        vectors = torch.cat([self.bottom(numbers), found], dim=1).view(len(ids), -1, WIDTH)
        products = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.pairs[0], self.pairs[1]]
        return self.top(torch.cat([vectors[:, 0], products], dim=1)).squeeze(1)


def tower(widths: list[int], last: nn.Module | None = None) -> nn.Sequential:
    """Return fully connected layers with ReLU between."""
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        layers += [nn.ReLU()] if i else []
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers, *([last] if last else []))


def plain(network: Network, batch: int, *, one_table: bool) -> Work:
    """Return the plain loop: sparse Adagrad for the tables, fused Adagrad for the layers."""
    torch.sparse.check_sparse_tensor_invariants.disable()  # as it is by default; unsaid, Adagrad warns
    module = Plain(network, one_table=one_table)
    layers = [p for name, p in module.named_parameters() if not name.startswith("bags")]
    steppers = [torch.optim.Adagrad(module.bags.parameters()), torch.optim.Adagrad(layers, fused=True)]

    def work(events: FeatureSet) -> None:
        ids, numbers, label = (torch.from_numpy(np.array(a)) for a in (events.ids, events.numbers, events.label))
        for part in torch.randperm(len(events)).split(batch):
            loss = functional.binary_cross_entropy_with_logits(module(ids[part].long(), numbers[part]), label[part])
            for stepper in steppers:
                stepper.zero_grad()
            loss.backward()
            for stepper in steppers:
                stepper.step()

    return work


def deepctr(network: Network, batch: int, *, own_loop: bool) -> Work | None:
    """Return deepctr-torch's WDL or, where dot products are read, its PNN, which has no numbers' tower."""
    if find_spec("deepctr_torch") is None:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        from deepctr_torch import models
        from deepctr_torch.inputs import DenseFeat, SparseFeat
    sparse = [SparseFeat(f"c{i}", size, WIDTH) for i, size in enumerate(network.sizes)]
    columns = [*sparse, DenseFeat("q", NUMBERS)]
    if network.interacts:
        model = models.PNN(columns, network.top, l2_reg_embedding=0, l2_reg_dnn=0)
    else:
        model = models.WDL(columns, columns, network.top, l2_reg_linear=0, l2_reg_embedding=0)
    model.compile(torch.optim.Adagrad(model.parameters(), fused=True), "binary_crossentropy")

    def fit(events: FeatureSet) -> None:
        given = [np.concatenate([events.ids, events.numbers], axis=1, dtype=np.float32)]
        with contextlib.redirect_stdout(io.StringIO()):
            model.fit(given, np.array(events.label), batch_size=batch, verbose=0)

    def handed(events: FeatureSet) -> None:
        given = torch.from_numpy(np.concatenate([events.ids, events.numbers], axis=1, dtype=np.float32))
        label = torch.from_numpy(np.array(events.label))
        for part in torch.randperm(len(events)).split(batch):
            p = model(given[part]).squeeze(1)
            model.optim.zero_grad()
            functional.binary_cross_entropy(p, label[part], reduction="sum").backward()
            model.optim.step()

    return fit if own_loop else handed


def fuxictr(network: Network, batch: int) -> Work | None:
    """Return FuxiCTR's `fit` on its own layers, put together as its model zoo does, given batches ready-made."""
    if find_spec("fuxictr") is None:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        from fuxictr.features import FeatureMap
        from fuxictr.pytorch import layers
        from fuxictr.pytorch.models import BaseModel
    fields = len(network.sizes)
    known = FeatureMap("ladder", tempfile.gettempdir())
    known.features = OrderedDict(
        (f"c{i}", {"type": "categorical", "source": "", "vocab_size": n, "padding_idx": None})
        for i, n in enumerate(network.sizes)
    )
    known.num_fields, known.labels, known.default_emb_dim = fields, ["label"], WIDTH

    class Model(BaseModel):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__(known, verbose=0, model_root=tempfile.gettempdir(), metrics=[])
            self.embedding_layer = layers.FeatureEmbedding(known, WIDTH)
            vectors = fields + 1
            inputs = WIDTH + vectors * (vectors - 1) // 2 if network.interacts else fields * WIDTH + NUMBERS
            self.top = layers.MLP_Block(inputs, list(network.top), output_dim=1)
            if network.interacts:
                self.bottom = layers.MLP_Block(
                    NUMBERS, list(network.bottom), output_dim=WIDTH, output_activation="ReLU"
                )
                self.interact = layers.InnerProductInteraction(vectors, output="inner_product")
            else:
                self.wide = layers.LogisticRegression(known)
            self.compile("Adagrad", "binary_crossentropy", 0.01)
            self.optimizer = torch.optim.Adagrad(self.parameters(), fused=True)

        def forward(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
            ids = {name: value for name, value in inputs.items() if name.startswith("c")}
            found, numbers = self.embedding_layer(ids), inputs["numbers"]
            if network.interacts:
                first = self.bottom(numbers)
                products = self.interact(torch.cat([first.unsqueeze(1), found], dim=1))
                logit = self.top(torch.cat([first, products], dim=1))
            else:
                logit = self.top(torch.cat([found.flatten(1), numbers], dim=1)) + self.wide(ids)
            return {"y_pred": self.output_activation(logit)}

    model = Model()
    model._max_gradient_norm, model._total_steps, model._stop_training = 10.0, 0, False
    model._eval_steps = 2**62  # `fit` ends with an evaluation and files, so that its loop over an epoch is called

    def work(events: FeatureSet) -> None:
        ids = torch.from_numpy(np.array(events.ids))
        rest = [torch.from_numpy(np.array(a)) for a in (events.numbers, events.label)]

        def batches() -> Any:
            for part in torch.randperm(len(events)).split(batch):
                taken = ids[part].long()
                yield {f"c{i}": taken[:, i] for i in range(fields)} | {"numbers": rest[0][part], "label": rest[1][part]}

        model.train_epoch(batches())

    return work
