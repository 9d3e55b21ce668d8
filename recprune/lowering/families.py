"""What each family computes between the vectors and the logit, as nodes (`recprune.model.families` in torch).

Legend: N rows of a request, V vectors read, D embedding width, C columns, P pairs read, K = C + P, H heads, E = D / H.
"""

import math
from collections.abc import Callable

import numpy as np

from recprune.lowering.builder import Builder
from recprune.lowering.interaction import Vectors, columns, columns_by_row, pairs, turned
from recprune.model.families.autoint import PROJECTIONS
from recprune.model.line import Line


def tower(build: Builder, line: Line, part: str, x: str, offset: float = 0.0) -> str:
    """Apply the fully connected layers of `top` or `bottom` (N, ·) → (N, ·); the offset goes to the last bias."""
    hidden = len(getattr(line.shape, part))
    for i in range(hidden + 1):
        x = linear(build, line, f"{part}.{i}", x, offset if i == hidden else 0.0)
        if i < hidden:
            x = build.node("Relu", [x])
    return x


def linear(build: Builder, line: Line, name: str, x: str, offset: float = 0.0) -> str:
    """Apply a fully connected layer (N, ·) → (N, ·)."""
    weight = build.constant(f"{name}.weight", line.weights[f"{name}.weight"].numpy())
    bias = line.weights[f"{name}.bias"].numpy() + np.float32(offset)
    return build.node("Gemm", [x, weight, build.constant(f"{name}.bias", bias)], transB=1)


def dlrm(build: Builder, line: Line, vectors: Vectors, offset: float) -> str:
    """Return the logits of DLRM (N, 1)."""
    counts = line.shape.counts()
    if not counts["pairs"]:
        return tower(build, line, "top", columns_by_row(build, line.shape, vectors), offset)
    parts = [columns(build, line.shape, vectors)] if counts["columns"] else []
    return tower(build, line, "top", turned(build, joined(build, [*parts, pairs(build, line.shape, vectors)])), offset)


def dcn(build: Builder, line: Line, vectors: Vectors, offset: float) -> str:
    """Return the logits of DCN-v2 (N, 1)."""
    x = start = columns_by_row(build, line.shape, vectors)  # (N, C)
    for i in range(line.shape.cross):
        x = crossed(build, start, linear(build, line, f"cross.{i}", x), x)
    return tower(build, line, "top", x, offset)


def deepfm(build: Builder, line: Line, vectors: Vectors, offset: float) -> str:
    """Return the logits of DeepFM (N, 1)."""
    counts, shape = line.shape.counts(), line.shape
    if not counts["pairs"]:
        every = columns_by_row(build, shape, vectors)
        deep = tower(build, line, "top", every, offset)
    elif not counts["columns"]:
        every = turned(build, pairs(build, shape, vectors))
        deep = tower_of_nothing(build, line, offset)
    else:
        read = columns(build, shape, vectors)  # (C, N)
        every = turned(build, joined(build, [read, pairs(build, shape, vectors)]))  # (N, K)
        deep = tower(build, line, "top", turned(build, read), offset)
    return build.node("Add", [linear(build, line, "wide", every), deep])


def tower_of_nothing(build: Builder, line: Line, offset: float) -> str:
    """Return what the top tower gives when it reads nothing (1, 1): its biases pass through it."""
    x = np.zeros((1, 0), np.float32)
    for i in range(len(line.shape.top) + 1):
        weight, bias = (line.weights[f"top.{i}.{kind}"].numpy() for kind in ("weight", "bias"))
        x = (x if i == 0 else np.maximum(x, 0)) @ weight.T + bias
    return build.constant("top", x + np.float32(offset))


def autoint(build: Builder, line: Line, vectors: Vectors, offset: float) -> str:
    """Return the logits of AutoInt (N, 1)."""
    x, by_row = vectors.name, vectors.by_row
    for i in range(line.shape.attention):
        x = attended(build, line, f"attention.{i}", x)
    return tower(build, line, "top", columns_by_row(build, line.shape, Vectors(x, by_row)), offset)


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
    return build.node("Add", [build.node("Mul", [start, projected]), x])


def joined(build: Builder, parts: list[str]) -> str:
    """Return inputs of several kinds, rows on the last axis, as one tensor (·, N)."""
    return parts[0] if len(parts) == 1 else build.node("Concat", parts, axis=0)


LOGITS: dict[str, Callable[[Builder, Line, Vectors, float], str]] = {
    "dlrm": dlrm,
    "dcn": dcn,
    "deepfm": deepfm,
    "autoint": autoint,
}
"""By the name of the family."""
