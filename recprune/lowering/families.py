"""What each family computes between the vectors and the logit, as nodes (`recprune.model.families` in torch).

Legend: N rows of a call, V vectors read, D embedding width, C columns, P pairs read, K = C + P, H heads, E = D / H.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recprune.lowering.builder import Builder
from recprune.lowering.interaction import Stack, column_parts, joined, pair_parts, turned
from recprune.lowering.layers import Layers, Part
from recprune.lowering.lowering import Lowering
from recprune.model.families.autoint import PROJECTIONS
from recprune.model.line import Line

APART = ("dlrm", "deepfm")
"""Families whose first layer is linear in each vector and each pair, so that the request's share of it is computed
once; the others take a request's vectors once for each row."""


@dataclass(frozen=True, slots=True)
class Writer:
    """What a family writes a network with."""

    build: Builder
    line: Line
    lowering: Lowering
    layers: Layers


def dlrm(writer: Writer, stacks: Sequence[Stack], offset: float) -> str:
    """Return the logits of DLRM (N, 1)."""
    build, shape, lowering = writer.build, writer.line.shape, writer.lowering
    parts = [*column_parts(build, shape, stacks, lowering), *pair_parts(build, shape, stacks, lowering)]
    return writer.layers.tower("top", joined(build, parts), offset)


def dcn(writer: Writer, stacks: Sequence[Stack], offset: float) -> str:
    """Return the logits of DCN-v2 (N, 1)."""
    x = start = columns_by_row(writer, stacks)  # (N, C)
    for i in range(writer.line.shape.cross):
        layer = f"cross.{i}"
        x = crossed(writer.build, start, writer.layers.linear(layer, [writer.layers.whole(layer, x)]), x)
    return writer.layers.tower("top", [writer.layers.whole("top.0", x)], offset)


def deepfm(writer: Writer, stacks: Sequence[Stack], offset: float) -> str:
    """Return the logits of DeepFM (N, 1)."""
    build, shape, lowering = writer.build, writer.line.shape, writer.lowering
    columns = column_parts(build, shape, stacks, lowering)
    pairs = pair_parts(build, shape, stacks, lowering)
    if columns:
        deep = writer.layers.tower("top", joined(build, columns), offset)
    else:
        deep = tower_of_nothing(build, writer.line, offset)
    return build.node("Add", [writer.layers.linear("wide", joined(build, [*columns, *pairs])), deep])


def tower_of_nothing(build: Builder, line: Line, offset: float) -> str:
    """Return what the top tower gives when it reads nothing (1, 1): its biases pass through it."""
    x = np.zeros((1, 0), np.float32)
    for i in range(len(line.shape.top) + 1):
        weight, bias = (line.weights[f"top.{i}.{kind}"].numpy() for kind in ("weight", "bias"))
        x = (x if i == 0 else np.maximum(x, 0)) @ weight.T + bias
    return build.constant("top", x + np.float32(offset))


def autoint(writer: Writer, stacks: Sequence[Stack], offset: float) -> str:
    """Return the logits of AutoInt (N, 1)."""
    [stack] = stacks
    x = stack.name
    with writer.build.section("interaction"):
        for i in range(writer.line.shape.attention):
            x = attended(writer.build, writer.line, f"attention.{i}", x)
    columns = columns_by_row(writer, [Stack(x, stack.places, stack.by_row)])
    return writer.layers.tower("top", [writer.layers.whole("top.0", columns)], offset)


def attended(build: Builder, line: Line, name: str, x: str) -> str:
    """Apply a layer of self-attention (N, V, D) → (N, V, D); the four projections are one product.

    The scale 1 / √E is in the query's weights.
    """
    width, heads, vectors = line.shape.embedding, line.shape.heads, len(line.shape.reading.vectors)
    scale = np.array([1 / math.sqrt(width // heads), 1, 1, 1], np.float32)
    weights, biases = (
        np.stack([line.weights[f"{name}.{p}.{kind}"].numpy() for p in PROJECTIONS]) for kind in ("weight", "bias")
    )
    weight = build.constant(f"{name}.weight", (weights * scale[:, None, None]).reshape(4 * width, width))
    bias = build.constant(f"{name}.bias", (biases * scale[:, None]).reshape(4 * width))
    all_four = build.node("Gemm", [build.reshape(x, -1, width), weight, bias], transB=1)  # (N·V, 4·D)
    query, key, value, residual = build.nodes_of("Split", [all_four], 4, axis=1, num_outputs=4)

    def split(y: str, *order: int) -> str:
        return build.node("Transpose", [build.reshape(y, -1, vectors, heads, width // heads)], perm=order)

    score = build.node("MatMul", [split(query, 0, 2, 1, 3), split(key, 0, 2, 3, 1)])  # (N, H, V, V)
    mixed = build.node("MatMul", [build.node("Softmax", [score], axis=3), split(value, 0, 2, 1, 3)])
    merged = build.reshape(build.node("Transpose", [mixed], perm=[0, 2, 1, 3]), -1, width)  # (N·V, D)
    out = build.node("Relu", [build.node("Add", [merged, residual])])
    return build.reshape(out, -1, vectors, width)


def crossed(build: Builder, start: str, projected: str, x: str) -> str:
    """Return x₀ ⊙ (W·x + b) + x (N, C)."""
    with build.section("interaction"):
        return build.node("Add", [build.node("Mul", [start, projected]), x])


def columns_by_row(writer: Writer, stacks: Sequence[Stack]) -> str:
    """Return the columns that are read (N, C), of one stack."""
    plain = Lowering(columns="picked")  # what is not read must not be there
    [part] = column_parts(writer.build, writer.line.shape, stacks, plain)
    with writer.build.section("interaction"):
        return turned(writer.build, part.name) if part.turned else part.name


LOGITS: dict[str, Callable[[Writer, Sequence[Stack], float], str]] = {
    "dlrm": dlrm,
    "dcn": dcn,
    "deepfm": deepfm,
    "autoint": autoint,
}
"""By the name of the family."""

__all__ = ["APART", "LOGITS", "Part", "Writer", "attended", "crossed"]
