"""Tiny, seeded networks, and events for them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recprune.data.features import FeatureSet
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape
from tests.makers import settings

PRUNE = settings().prune
TRAIN = replace(settings().train, batch=8, learning_rate=0.01, embedding_learning_rate=0.1)


def shape_of(
    categorical: int = 2,
    numeric: int = 1,
    *,
    embedding: int = 3,
    bottom: Sequence[int] = (4,),
    top: Sequence[int] = (5, 4),
    inputs: Sequence[int] | None = None,
) -> Shape:
    """Return a shape; without `inputs` the dense one."""
    shape = Shape(
        categorical=tuple(f"c{i}" for i in range(categorical)),
        numeric=tuple(f"q{i}" for i in range(numeric)),
        embedding=embedding,
        bottom=tuple(bottom) if numeric else (),
        top=tuple(top),
        inputs=(),
    )
    return replace(shape, inputs=tuple(range(shape.all_inputs) if inputs is None else inputs))


def sizes_of(shape: Shape) -> tuple[int, ...]:
    """Return different vocabulary sizes for the features: 3, 4, 5, …"""
    return tuple(range(3, 3 + len(shape.categorical)))


def line_of(shape: Shape, seed: int = 0) -> Line:
    """Return a line whose every tensor is random, the squared ones positive, as in the middle of its life."""
    line = new_line(shape, sizes_of(shape), seed)
    generator = torch.Generator().manual_seed(seed)

    def drawn(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    line.weights = {name: 0.5 * drawn(tensor) for name, tensor in line.weights.items()}
    line.moments = {
        name: 1e-3 * (drawn(t) if name.endswith(".first") else drawn(t) ** 2) for name, t in line.moments.items()
    }
    q = len(shape.numeric)
    line.numbers = {
        "count": torch.full((q,), 10.0, dtype=torch.float64),
        "mean": torch.linspace(-0.5, 0.5, q, dtype=torch.float64),
        "square": torch.linspace(5.0, 20.0, q, dtype=torch.float64),
    }
    line.importance = {kind: torch.rand(width, generator=generator) for kind, width in sorted(shape.widths().items())}
    line.step = 7
    return line


def events_for(line: Line, rows: int, seed: int = 0) -> FeatureSet:
    """Draw events: ids within the line's rows, numbers some of which are missing, labels of both kinds."""
    draw = np.random.default_rng(seed)
    columns = [draw.integers(0, size, rows) for size in line.sizes]
    ids = np.stack(columns, axis=1).astype(np.int32) if columns else np.zeros((rows, 0), np.int32)
    numbers = draw.normal(size=(rows, len(line.shape.numeric))).astype(np.float32)
    numbers[draw.random(numbers.shape) < 0.2] = np.nan
    label = (np.arange(rows) % 3 == 0).astype(np.float32)
    return FeatureSet(ids, numbers, label, np.arange(rows, dtype=np.uint64))


def tensors_of(line: Line) -> dict[str, Tensor]:
    """Return every tensor of a line by part and name."""
    parts = ("weights", "moments", "numbers", "importance")
    return {f"{part}/{name}": tensor for part in parts for name, tensor in getattr(line, part).items()}


def same(first: Line, second: Line) -> bool:
    """Say whether two lines are equal to the last bit."""
    ours, theirs = tensors_of(first), tensors_of(second)
    facts = (first.shape, first.sizes, first.step) == (second.shape, second.sizes, second.step)
    return facts and ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
