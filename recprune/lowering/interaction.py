"""Vectors, and what a network reads of them, as nodes.

ONNX Runtime copies whole slices along the first axis and single values along any other one (64 of 256 columns
of 128 rows and the first layer: 75 µs along the second axis, 27 along the first with two transpositions), so
values are picked with the rows on the last axis.

Legend: N rows of a request, F features read, V vectors read, D embedding width, C columns, P pairs read.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recprune.lowering.builder import Builder
from recprune.model.line import Line
from recprune.model.shape import Shape

DENSE_PAIRS = 2.5
"""Above this many pairs per vector the square of all dot products is faster (measured: 3.6 at D 8, 2.5 to 3 at
D 16, 1.7 to 2.7 at D 32, 1.3 to 2.7 at D 64; V 8 to 27, 128 and 1,024 rows)."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors that are read."""

    name: str
    by_row: bool
    """Whether the tensor is (N, V, D), or (V, N, D)."""


def reads_by_row(shape: Shape) -> bool:
    """Say which layout of the vectors a network is built on."""
    reading = shape.reading
    return shape.attention > 0 or squares(shape) or (reading.columns is None and not len(reading.first))


def squares(shape: Shape) -> bool:
    """Say whether so many pairs are read that all are computed, as one matrix product."""
    return len(shape.reading.first) > DENSE_PAIRS * len(shape.reading.vectors)


def stack(build: Builder, line: Line, rows: str | None, numbers: str | None) -> Vectors:
    """Return the vectors of the looked-up rows and of the numbers.

    Args:
        build: where the nodes go.
        line: its whole table becomes one constant.
        rows: table rows (F, N); None if no feature is read.
        numbers: the numbers' vector (N, D); None if they are not read.
    """
    by_row, parts = reads_by_row(line.shape), []
    if numbers is not None:
        parts.append(build.node("Unsqueeze", [numbers, build.integers(1 if by_row else 0)]))
    if rows is not None:
        index = build.node("Transpose", [rows], perm=[1, 0]) if by_row else rows
        table = build.constant("embedding", line.weights["embedding"].numpy())
        parts.append(build.node("Gather", [table, index], axis=0))
    both = parts[0] if len(parts) == 1 else build.node("Concat", parts, axis=1 if by_row else 0)
    return Vectors(both, by_row)


def columns_by_row(build: Builder, shape: Shape, vectors: Vectors) -> str:
    """Return the columns that are read (N, C)."""
    if shape.reading.columns is None and vectors.by_row:
        return build.reshape(vectors.name, 0, len(shape.reading.vectors) * shape.embedding)
    return turned(build, columns(build, shape, vectors))


def columns(build: Builder, shape: Shape, vectors: Vectors) -> str:
    """Return the columns that are read (C, N)."""
    width = len(shape.reading.vectors) * shape.embedding
    if vectors.by_row:
        flat = turned(build, build.reshape(vectors.name, 0, width))  # (V·D, N)
    else:
        flat = build.reshape(build.node("Transpose", [vectors.name], perm=[0, 2, 1]), width, -1)
    index = shape.reading.columns
    return flat if index is None else picked(build, flat, "columns", index.numpy())


def pairs(build: Builder, shape: Shape, vectors: Vectors) -> str:
    """Return the dot products of the pairs that are read (P, N)."""
    reading = shape.reading
    first, second = reading.first.numpy(), reading.second.numpy()
    if not squares(shape):
        return gathered(build, vectors.name, first, second)
    count = len(reading.vectors)
    return picked(build, square(build, vectors.name, count), "pairs", first * count + second)


def gathered(build: Builder, x: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> str:
    """Return dot products of pairs of vectors (V, N, D) → (P, N)."""
    left = build.node("Gather", [x, build.constant("first", first)], axis=0)
    right = build.node("Gather", [x, build.constant("second", second)], axis=0)  # (P, N, D)
    return build.node("ReduceSum", [build.node("Mul", [left, right]), build.integers(2)], keepdims=0)


def square(build: Builder, x: str, vectors: int) -> str:
    """Return the dot products of all vectors with all (N, V, D) → (V·V, N)."""
    products = build.node("MatMul", [x, build.node("Transpose", [x], perm=[0, 2, 1])])
    return turned(build, build.reshape(products, 0, vectors * vectors))


def picked(build: Builder, x: str, name: str, index: NDArray[np.int64]) -> str:
    """Return some of the values of each row (·, N) → (K, N)."""
    return build.node("Gather", [x, build.constant(name, index)], axis=0)


def turned(build: Builder, x: str) -> str:
    """Exchange rows and columns of a matrix."""
    return build.node("Transpose", [x], perm=[1, 0])
