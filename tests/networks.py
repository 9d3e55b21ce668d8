"""Tiny, seeded networks of every family, and events for them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from recprune.data.features import FeatureSet
from recprune.model.line import Line, new_line
from recprune.model.shape import Shape, with_every_input
from recprune.model.threads import use_threads
from tests.makers import settings

use_threads(1)  # for networks this tiny a second thread only waits, on a busy machine for long

FAMILIES = ("dlrm", "dcn", "deepfm", "autoint")
PRUNE = settings().prune
TRAIN = replace(settings().train, batch=8, learning_rate=0.01, embedding_learning_rate=0.1)


def shape_of(
    categorical: int = 2,
    numeric: int = 1,
    *,
    family: str = "dlrm",
    embedding: int = 3,
    bottom: Sequence[int] = (4,),
    top: Sequence[int] = (5, 4),
    inputs: Sequence[int] | None = None,
    attended: Sequence[int] | None = None,
    cross: int = 2,
    attention: int = 1,
    heads: int = 1,
) -> Shape:
    """Return a shape; without `inputs` the dense one. What a family lacks is ignored."""
    dense = with_every_input(
        Shape(
            categorical=tuple(f"c{i}" for i in range(categorical)),
            numeric=tuple(f"q{i}" for i in range(numeric)),
            embedding=embedding,
            bottom=tuple(bottom) if numeric else (),
            top=tuple(top),
            inputs=(),
            family=family,
            cross=cross if family == "dcn" else 0,
            attention=attention if family == "autoint" else 0,
            heads=heads if family == "autoint" else 1,
        )
    )
    return reading(dense, dense.inputs if inputs is None else inputs, attended)


def reading(shape: Shape, inputs: Sequence[int], attended: Sequence[int] | None = None) -> Shape:
    """Return the shape that reads these inputs; without the numbers' vector it has no bottom tower."""
    left = shape.attended if attended is None or not shape.attended else tuple(attended)
    found = replace(shape, inputs=tuple(inputs), attended=left)
    return found if 0 in found.reading.vectors else replace(found, bottom=())


@st.composite
def dense_shapes(draw: st.DrawFn, families: Sequence[str] = FAMILIES) -> Shape:
    """Draw a dense network of any family, with or without numbers, of one vector or more."""
    numeric = draw(st.integers(0, 2))
    heads = draw(st.integers(1, 2))
    return shape_of(
        draw(st.integers(0 if numeric else 1, 4)), numeric, family=draw(st.sampled_from(families)),
        embedding=heads * draw(st.integers(1, 2)), bottom=draw(st.lists(st.integers(1, 4), max_size=2)),
        top=draw(st.lists(st.integers(1, 4), max_size=2)), cross=draw(st.integers(1, 2)),
        attention=draw(st.integers(1, 2)), heads=heads,
    )  # fmt: skip


@st.composite
def shapes(draw: st.DrawFn, families: Sequence[str] = FAMILIES) -> Shape:
    """Draw a network that reads some of its inputs."""
    dense = draw(dense_shapes(families))
    attended = sorted(draw(st.sets(st.sampled_from(dense.attended), min_size=1))) if dense.attended else []
    may = [i for i in dense.inputs if not attended or set(dense.vectors_of(i)) <= set(attended)]
    return reading(dense, sorted(draw(st.sets(st.sampled_from(may), min_size=1))), attended)


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


def masked(line: Line, seed: int = 0) -> Line:
    """Give every layer a mask of single weights and a tensor of a policy's own, in place."""
    generator = torch.Generator().manual_seed(seed)
    for name in line.layer_names():
        line.extra[f"{name}.own"] = torch.randn(line.weights[name].shape, generator=generator)
        if name.endswith(".weight"):
            line.masks[name] = torch.rand(line.weights[name].shape, generator=generator) < 0.5
    return line


def events_for(line: Line, rows: int, seed: int = 0) -> FeatureSet:
    """Draw events: ids within the line's rows, numbers some of which are missing, labels of both kinds.

    A feature that the line does not read has ids all the same: those of the dense line's rows.
    """
    draw = np.random.default_rng(seed)
    sizes = [size or full for size, full in zip(line.sizes, sizes_of(line.shape), strict=True)]
    columns = [draw.integers(0, size, rows) for size in sizes]
    ids = np.stack(columns, axis=1).astype(np.int32) if columns else np.zeros((rows, 0), np.int32)
    numbers = draw.normal(size=(rows, len(line.shape.numeric))).astype(np.float32)
    numbers[draw.random(numbers.shape) < 0.2] = np.nan
    label = (np.arange(rows) % 3 == 0).astype(np.float32)
    return FeatureSet(ids, numbers, label, np.arange(rows, dtype=np.uint64), np.ones(rows, np.float32))


def tensors_of(line: Line) -> dict[str, Tensor]:
    """Return every tensor of a line by part and name."""
    parts = ("weights", "moments", "numbers", "importance", "origin", "masks", "extra")
    return {f"{part}/{name}": tensor for part in parts for name, tensor in getattr(line, part).items()}


def same(first: Line, second: Line) -> bool:
    """Say whether two lines are equal to the last bit."""
    ours, theirs = tensors_of(first), tensors_of(second)
    facts = (first.shape, first.sizes, first.step) == (second.shape, second.sizes, second.step)
    return facts and ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
