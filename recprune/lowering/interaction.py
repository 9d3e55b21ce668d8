"""Vectors, and what a network reads of them, as nodes.

ONNX Runtime copies whole slices along the first axis and single values along any other one (64 of 256 columns
of 128 rows and the first layer: 75 µs along the second axis, 27 along the first with two transpositions), so
values are picked with the rows on the last axis.

Legend: N rows of a call, R requests of a call (1 or N), n either, V vectors read, D embedding width, C columns,
P pairs read, K = C + P.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from recprune.lowering.builder import Builder
from recprune.lowering.layers import Part
from recprune.lowering.lowering import Lowering
from recprune.model.shape import Shape

DENSE_PAIRS = 2.5
"""Above this many pairs per vector the square of all dot products is faster (measured: 3.6 at D 8, 2.5 to 3 at
D 16, 1.7 to 2.7 at D 32, 1.3 to 2.7 at D 64; V 8 to 27, 128 and 1,024 rows)."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Vectors that are read: those of the rows, or those of the request."""

    name: str
    places: tuple[int, ...]
    """Their places among all vectors that are read, ascending."""
    by_row: bool
    """Whether the tensor is (n, V, D), or (V, n, D)."""
    request: bool = False
    """Whether n is R."""


def usual_lowering(shape: Shape) -> Lowering:
    """Return the way to write a network of this shape that needs no measurement."""
    reading = shape.reading
    square = len(reading.first) > DENSE_PAIRS * len(reading.vectors)
    return Lowering(pairs="square" if square else "gathered")


def reads_by_row(shape: Shape, lowering: Lowering) -> bool:
    """Say which layout of the vectors a network is built on."""
    pairs = len(shape.reading.first)
    if pairs and lowering.pairs == "gathered":
        return False
    return bool(pairs) or shape.attention > 0 or _reads_all(shape) or lowering.columns == "whole"


def _reads_all(shape: Shape) -> bool:
    return shape.reading.columns is None


def column_parts(build: Builder, shape: Shape, stacks: Sequence[Stack], lowering: Lowering) -> list[Part]:
    """Return the columns that are read, a part for each stack that has some."""
    found = (_columns(build, shape, stack, lowering) for stack in stacks)
    with build.section("interaction"):
        return [part for part in found if part is not None]


def _columns(build: Builder, shape: Shape, stack: Stack, lowering: Lowering) -> Part | None:
    of_layer = _places_of_columns(shape)  # (V · D,)
    index = of_layer.reshape(len(shape.reading.vectors), shape.embedding)[list(stack.places)].ravel()
    read = np.flatnonzero(index >= 0)
    if not len(read):
        return None
    if lowering.columns == "whole" or len(read) == len(index):
        x = stack.name if stack.by_row else build.node("Transpose", [stack.name], perm=[1, 0, 2])
        return Part(build.reshape(x, 0, len(index)), index, request=stack.request)
    flat = flattened(build, stack.name, len(index), by_row=stack.by_row)
    name = f"columns{'/request' if stack.request else ''}"
    return Part(picked(build, flat, name, read), index[read], turned=True, request=stack.request)


def _places_of_columns(shape: Shape) -> NDArray[np.int64]:
    """Return for each column of the vectors read its number among the layer's inputs, −1 if it is none."""
    width, columns = len(shape.reading.vectors) * shape.embedding, shape.reading.columns
    found = np.full(width, -1)
    read = np.arange(width) if columns is None else columns.numpy()
    found[read] = np.arange(len(read))
    return found


def flattened(build: Builder, x: str, width: int, *, by_row: bool) -> str:
    """Return the columns of vectors, (n, V, D) or (V, n, D) → (V·D, n)."""
    if by_row:
        return turned(build, build.reshape(x, 0, width))
    return build.reshape(build.node("Transpose", [x], perm=[0, 2, 1]), width, -1)


def pair_parts(build: Builder, shape: Shape, stacks: Sequence[Stack], lowering: Lowering) -> list[Part]:
    """Return the dot products of the pairs that are read, a part for each two stacks that have some."""
    found, reading, columns = [], shape.reading, shape.counts()["columns"]
    pairs = np.stack([reading.first.numpy(), reading.second.numpy()])  # (2, P)
    with build.section("interaction"):
        # rows before the request: with one matrix on the right ONNX Runtime makes one product of all rows'
        for one, other in combinations_with_replacement(sorted(stacks, key=lambda s: s.request), 2):
            place = [{v: n for n, v in enumerate(stack.places)} for stack in (one, other)]
            of_these = [
                (columns + i, *ends)
                for i, (first, second) in enumerate(pairs.T.tolist())
                if (ends := _ends(place, first, second)) is not None
            ]
            if of_these:
                number, left, right = np.array(of_these, np.int64).T
                found.append(_products(build, (one, other), lowering, (number, left, right)))
    return found


def _ends(place: list[dict[int, int]], first: int, second: int) -> tuple[int, int] | None:
    """Return the places of two vectors within two stacks; None if they are not of these."""
    for one, other in ((first, second), (second, first)):
        if one in place[0] and other in place[1]:
            return place[0][one], place[1][other]
    return None


def _products(
    build: Builder, stacks: tuple[Stack, Stack], lowering: Lowering, pairs: tuple[NDArray[np.int64], ...]
) -> Part:
    """Return the dot products of pairs: their numbers among the layer's inputs, and their ends within each stack."""
    number, left, right = pairs
    one, other = stacks
    name = f"pairs/{int(one.request)}{int(other.request)}"
    request = one.request and other.request
    if lowering.pairs == "gathered":
        return Part(gathered(build, one.name, other.name, name, (left, right)), number, turned=True, request=request)
    width = len(one.places) * len(other.places)
    flat = build.reshape(square(build, one.name, other.name), 0, width)
    place = left * len(other.places) + right
    if lowering.pairs == "whole":
        index = np.full(width, -1)
        index[place] = number
        return Part(flat, index, request=request)
    return Part(picked(build, turned(build, flat), name, place), number, turned=True, request=request)


def gathered(build: Builder, x: str, y: str, name: str, pairs: tuple[NDArray[np.int64], NDArray[np.int64]]) -> str:
    """Return dot products of pairs of vectors (V, n, D), (W, n, D) → (P, n)."""
    left = build.node("Gather", [x, build.constant(f"{name}/first", pairs[0])], axis=0)
    right = build.node("Gather", [y, build.constant(f"{name}/second", pairs[1])], axis=0)  # (P, n, D)
    return build.node("ReduceSum", [build.node("Mul", [left, right]), build.integers(2)], keepdims=0)


def square(build: Builder, x: str, y: str) -> str:
    """Return the dot products of all vectors with all (n, V, D), (n, W, D) → (n, V, W)."""
    return build.node("MatMul", [x, build.node("Transpose", [y], perm=[0, 2, 1])])


def picked(build: Builder, x: str, name: str, index: NDArray[np.int64]) -> str:
    """Return some of the values of each row (·, n) → (K, n)."""
    return build.node("Gather", [x, build.constant(name, index)], axis=0)


def turned(build: Builder, x: str) -> str:
    """Exchange rows and columns of a matrix."""
    return build.node("Transpose", [x], perm=[1, 0])


def joined(build: Builder, parts: Sequence[Part]) -> list[Part]:
    """Return the parts with those of one side and one layout made one: a product of each is cheaper than two."""
    found = []
    with build.section("interaction"):
        for request in (True, False):
            for is_turned in (True, False):
                alike = [p for p in parts if (p.request, p.turned) == (request, is_turned)]
                if len(alike) > 1:
                    x = build.node("Concat", [p.name for p in alike], axis=0 if is_turned else 1)
                    index = np.concatenate([p.index for p in alike])
                    alike = [Part(x, index, turned=is_turned, request=request)]
                found += alike
    return found
