"""The shape of a DLRM, dense or carved: widths, and which inputs of the first top layer are kept.

The network: each categorical feature has an embedding row of width D; the numbers pass the bottom
network and give one more vector of width D. The first top layer may read, as *inputs*, every column of
every vector and the dot product of every pair of vectors. A carved network reads some of them only.
"""

from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import combinations, pairwise
from typing import Any

from recprune.data.schema import Schema
from recprune.settings import ModelSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Sizes of one network.

    Inputs of the first top layer are numbered: columns first (vector v, column d is v·D + d), then
    pairs (i < j) in lexicographic order. Vector 0 is the numbers' if there are numbers.
    """

    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    embedding: int
    bottom: tuple[int, ...]
    """Hidden widths of the bottom network; empty if there are no numbers."""
    top: tuple[int, ...]
    """Hidden widths of the top network."""
    inputs: tuple[int, ...]
    """Kept inputs, ascending."""

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors that interact."""
        return (("numbers",) if self.numeric else ()) + self.categorical

    @property
    def columns(self) -> int:
        """Count the inputs that are columns of vectors, kept or not."""
        return len(self.vectors) * self.embedding

    @property
    def all_inputs(self) -> int:
        """Count the inputs that the dense network has."""
        return self.columns + len(self.vectors) * (len(self.vectors) - 1) // 2

    def pair(self, index: int) -> tuple[int, int]:
        """Return the two vectors of an input that is a pair."""
        return self.pairs()[index - self.columns]

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Return all pairs of vectors in the order of the inputs."""
        return _pairs(len(self.vectors))

    def input_name(self, index: int) -> str:
        """Name an input: `product_id[3]` or `product_id × store_id`."""
        if index < self.columns:
            return f"{self.vectors[index // self.embedding]}[{index % self.embedding}]"
        first, second = self.pair(index)
        return f"{self.vectors[first]} × {self.vectors[second]}"

    def layers(self) -> list[tuple[str, int, int]]:
        """Return name, inputs and outputs of each fully connected layer."""
        below = [2 * len(self.numeric), *self.bottom, self.embedding] if self.numeric else []
        above = [len(self.inputs), *self.top, 1]
        named = [(f"bottom.{i}", n, m) for i, (n, m) in enumerate(pairwise(below))]
        return named + [(f"top.{i}", n, m) for i, (n, m) in enumerate(pairwise(above))]

    def flops(self) -> int:
        """Count the floating point operations of one row.

        Two per weight of a fully connected layer, 2·D per kept pair; look-ups cost none.
        """
        kept_pairs = sum(1 for i in self.inputs if i >= self.columns)
        return sum(2 * n * m for _, n, m in self.layers()) + 2 * self.embedding * kept_pairs

    def widths(self) -> dict[str, int]:
        """Return what a carving may change: kept inputs, and neurons per hidden layer."""
        bottom = {f"bottom.{i}": n for i, n in enumerate(self.bottom)}
        return {"inputs": len(self.inputs), **bottom, **{f"top.{i}": n for i, n in enumerate(self.top)}}

    def resized(self, layer: str, width: int) -> "Shape":
        """Return the shape with another width of one hidden layer, named like in `widths`."""
        part, index = layer.split(".")
        widths = list(getattr(self, part))
        widths[int(index)] = width
        if part == "bottom":
            return replace(self, bottom=tuple(widths))
        return replace(self, top=tuple(widths))

    def to_json(self) -> dict[str, Any]:
        """Return the shape as plain JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Shape":
        """Read what `to_json` wrote."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        return cls(**values)


@cache
def _pairs(vectors: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs of so many vectors; asked for once per input of every batch."""
    return tuple(combinations(range(vectors), 2))


def dense_shape(schema: Schema, model: ModelSettings) -> Shape:
    """Return the shape of the dense network for a schema."""
    numeric = tuple(f.name for f in schema.numeric)
    shape = Shape(
        categorical=tuple(f.name for f in schema.categorical),
        numeric=numeric,
        embedding=model.embedding,
        bottom=model.bottom if numeric else (),
        top=model.top,
        inputs=(),
    )
    return replace(shape, inputs=tuple(range(shape.all_inputs)))


def uniform_shape(dense: Shape, budget: float) -> Shape:
    """Shrink every hidden layer by one factor until the FLOPs fit `budget` × the dense network's.

    All inputs are kept: without data there is nothing to choose them by.
    """
    best = None
    for step in range(1, 257):
        share = step / 256
        shape = replace(
            dense,
            bottom=tuple(max(1, round(n * share)) for n in dense.bottom),
            top=tuple(max(1, round(n * share)) for n in dense.top),
        )
        if shape.flops() <= budget * dense.flops():
            best = shape
    return best or shape_of_one(dense)


def shape_of_one(dense: Shape) -> Shape:
    """Return the smallest network that reads all inputs."""
    return replace(dense, bottom=(1,) * len(dense.bottom), top=(1,) * len(dense.top))
