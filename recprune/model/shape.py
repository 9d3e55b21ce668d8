"""The shape of a network, dense or carved: its family, widths, and which inputs are kept.

Each categorical feature has an embedding row of width D; the numbers pass the bottom tower and give one
more vector of width D. Above the vectors lies what the family says (`families`). The network may read, as
*inputs*, columns of the vectors and dot products of two of them. A carved network reads some of them only,
and leaves out every vector of which it reads nothing: look-up, table and bottom tower go with it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, lru_cache
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from recprune.data.schema import Schema
from recprune.model.families import FAMILIES
from recprune.model.families.family import Counts, Cut, Layer, chain
from recprune.settings import ModelSettings

_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Sizes of one network.

    Inputs are numbered: columns first (vector v, column d is v·D + d), then pairs (i < j) in lexicographic
    order. Vector 0 is the numbers' if there are numbers.
    """

    categorical: tuple[str, ...]
    numeric: tuple[str, ...]
    embedding: int
    bottom: tuple[int, ...]
    """Hidden widths of the bottom tower; empty if no numbers are read."""
    top: tuple[int, ...]
    """Hidden widths of the top tower."""
    inputs: tuple[int, ...]
    """Kept inputs, ascending."""
    family: str = "dlrm"
    cross: int = 0
    """Cross layers (dcn)."""
    attention: int = 0
    """Attention layers (autoint)."""
    heads: int = 1
    """Attention heads (autoint)."""
    attended: tuple[int, ...] = ()
    """Vectors that are attended to, ascending (autoint); elsewhere the inputs say which vectors are read."""
    most: tuple[int, ...] = ()
    """Ids that are read of an event per categorical feature; empty if all have one."""
    pooling: tuple[str, ...] = ()
    """Per categorical feature `mean`, `sum`, or nothing for a single id; empty if all have one."""

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors that interact in the dense network."""
        return (("numbers",) if self.numeric else ()) + self.categorical

    @property
    def columns(self) -> int:
        """Count the inputs that are columns of vectors, kept or not."""
        return len(self.vectors) * self.embedding

    @property
    def all_inputs(self) -> int:
        """Count the inputs that the dense network has."""
        pairs = len(self.vectors) * (len(self.vectors) - 1) // 2
        return self.columns + (pairs if FAMILIES[self.family].has_pairs else 0)

    @property
    def reading(self) -> "Reading":
        """What the forward pass takes in, as index tensors of the CPU."""
        return _reading(self, _CPU)

    def reading_on(self, device: torch.device) -> "Reading":
        """Return what the forward pass takes in, as index tensors of a device."""
        return _reading(self, device)

    def pair(self, index: int) -> tuple[int, int]:
        """Return the two vectors of an input that is a pair."""
        return self.pairs()[index - self.columns]

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Return all pairs of vectors in the order of the inputs."""
        return _pairs(len(self.vectors))

    def vectors_of(self, index: int) -> tuple[int, ...]:
        """Return the vector or the two vectors that an input needs."""
        return (index // self.embedding,) if index < self.columns else self.pair(index)

    def unread(self) -> list[int]:
        """Return the inputs that are not read and need no vector that is not read either."""
        reads, vectors = set(self.inputs), set(self.reading.vectors)
        return [i for i in range(self.all_inputs) if i not in reads and set(self.vectors_of(i)) <= vectors]

    def input_name(self, index: int) -> str:
        """Name an input: `product_id[3]` or `product_id × store_id`."""
        if index < self.columns:
            return f"{self.vectors[index // self.embedding]}[{index % self.embedding}]"
        first, second = self.pair(index)
        return f"{self.vectors[first]} × {self.vectors[second]}"

    def counts(self) -> dict[str, int]:
        """Return all that a cost depends on; see `Counts`."""
        columns = sum(1 for i in self.inputs if i < self.columns)
        read = self.reading.vectors
        return {
            "columns": columns,
            "pairs": len(self.inputs) - columns,
            "vectors": len(read),
            "numbers": int(bool(self.numeric) and 0 in read),
            **{f"bottom.{i}": n for i, n in enumerate(self.bottom)},
            **{f"top.{i}": n for i, n in enumerate(self.top)},
        }

    def tower_widths(self, part: str, counts: Counts) -> list[int]:
        """Return the hidden widths of `bottom` or `top` in counts."""
        return [counts[f"{part}.{i}"] for i in range(len(getattr(self, part)))]

    def layers(self, counts: Counts | None = None) -> list[Layer]:
        """Return name, inputs and outputs of each fully connected layer, of this network or of other counts."""
        has = self.counts() if counts is None else counts
        below = [2 * len(self.numeric), *self.tower_widths("bottom", has), self.embedding]
        return (chain("bottom", below) if has["numbers"] else []) + FAMILIES[self.family].layers(self, has)

    def flops(self, counts: Counts | None = None) -> int:
        """Count the floating point operations of one row, of this network or of other counts.

        Two per weight of a fully connected layer, 2·D per pair, what else the family's interaction takes;
        look-ups cost none.
        """
        has = self.counts() if counts is None else counts
        dense = sum(2 * n * m for _, n, m in self.layers(has))
        return dense + FAMILIES[self.family].interaction_flops(self, has)

    def widths(self) -> dict[str, int]:
        """Return what a carving may change: groups of each kind."""
        inner = {"vectors": len(self.attended)} if self.attended else {}
        bottom = {f"bottom.{i}": n for i, n in enumerate(self.bottom)}
        return {"inputs": len(self.inputs), **inner, **bottom, **{f"top.{i}": n for i, n in enumerate(self.top)}}

    def cuts(self) -> dict[str, list[Cut]]:
        """Return where the groups of each kind lie."""
        found = FAMILIES[self.family].cuts(self)
        for part in ("bottom", "top"):
            for i, width in enumerate(getattr(self, part)):
                name, every = f"{part}.{i}", tuple(range(width))
                places = [(f"{name}.weight", 0), (f"{name}.bias", 0), (f"{part}.{i + 1}.weight", 1)]
                found[name] = [Cut(tensor, axis, every) for tensor, axis in places]
        return found

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


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the forward pass takes in, as indices."""

    vectors: tuple[int, ...]
    """Vectors that are read, ascending."""
    features: Tensor
    """Positions of the categorical features that are looked up."""
    columns: Tensor | None
    """Columns among those of the vectors that are read; None if all are."""
    first: Tensor
    """Of each pair the first vector's place among those that are read."""
    second: Tensor
    products: Tensor
    """Of each pair its place in the square of the vectors that are read, V·V."""
    spread: Tensor
    """For each place in that square, both halves of it, its pair; as many as there are pairs where there is none."""
    slots: Tensor
    """Of the ids of an event (C,) those of the features that are read (S,)."""
    owners: Tensor | None
    """For each of these its feature's place among those that are read (S,); None if each has one id."""
    averaged: Tensor
    """For each of these 1 if its feature's vectors are averaged, 0 if they are summed (S,)."""


@lru_cache(maxsize=512)
def _reading(shape: Shape, device: torch.device) -> Reading:
    if device != _CPU:
        here = _reading(shape, _CPU)
        values: dict[str, Any] = {f.name: getattr(here, f.name) for f in fields(here)}
        moved: dict[str, Any] = {n: v.to(device) if isinstance(v, Tensor) else v for n, v in values.items()}
        return Reading(**moved)
    read = shape.attended or tuple(sorted({v for i in shape.inputs for v in shape.vectors_of(i)}))
    place, width = {v: n for n, v in enumerate(read)}, shape.embedding
    columns = [place[i // width] * width + i % width for i in shape.inputs if i < shape.columns]
    pairs = [shape.pair(i) for i in shape.inputs if i >= shape.columns]
    shift = 1 if shape.numeric else 0
    features = [v - shift for v in read if v >= shift]
    most, pooling = shape.most or (1,) * len(shape.categorical), shape.pooling or ("",) * len(shape.categorical)
    owners = [n for n, f in enumerate(features) for _ in range(most[f])]
    first = torch.tensor([place[i] for i, _ in pairs], dtype=torch.int64)
    second = torch.tensor([place[j] for _, j in pairs], dtype=torch.int64)
    spread = torch.full((len(read), len(read)), len(pairs))
    spread[first, second] = spread[second, first] = torch.arange(len(pairs))
    return Reading(
        vectors=read,
        features=torch.tensor(features, dtype=torch.int64),
        columns=None if len(columns) == len(read) * width else torch.tensor(columns, dtype=torch.int64),
        first=first,
        second=second,
        products=first * len(read) + second,
        spread=spread.flatten(),
        slots=torch.tensor([sum(most[:f]) + i for f in features for i in range(most[f])], dtype=torch.int64),
        owners=torch.tensor(owners, dtype=torch.int64) if any(pooling) else None,
        averaged=torch.tensor([float(pooling[features[n]] == "mean") for n in owners]),
    )


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
        family=model.family,
        cross=model.cross_layers if model.family == "dcn" else 0,
        attention=model.attention_layers if model.family == "autoint" else 0,
        heads=model.attention_heads if model.family == "autoint" else 1,
        **_lists(schema),
    )
    return with_every_input(shape)


def _lists(schema: Schema) -> dict[str, Any]:
    found = schema.categorical
    if all(f.pooling is None for f in found):
        return {}
    return {"most": tuple(f.most for f in found), "pooling": tuple(f.pooling or "" for f in found)}


def with_every_input(shape: Shape) -> Shape:
    """Return the shape with all inputs that its family has."""
    attended = tuple(range(len(shape.vectors))) if shape.attention else ()
    return replace(shape, inputs=tuple(range(shape.all_inputs)), attended=attended)


def uniform_shape(dense: Shape, fits: Callable[["Shape"], bool]) -> Shape:
    """Shrink every hidden layer by one factor until the network fits; the widest one that does.

    All inputs are kept, since without data there is nothing to choose them by. Where even the narrowest such
    network is too much, as where the interaction costs most, vectors are cut to their first columns as well.
    """
    for columns in range(dense.embedding, 0, -1):
        inputs = tuple(i for i in dense.inputs if i >= dense.columns or i % dense.embedding < columns)
        reading = replace(dense, inputs=inputs)
        shapes = (_scaled(reading, step / 256) for step in range(256, 0, -1))
        found = next((shape for shape in shapes if fits(shape)), None)
        if found:
            return found
    return _scaled(replace(dense, inputs=dense.inputs[:1]), 0.0)


def _scaled(shape: Shape, share: float) -> Shape:
    return replace(
        shape,
        bottom=tuple(max(1, round(n * share)) for n in shape.bottom) if 0 in shape.reading.vectors else (),
        top=tuple(max(1, round(n * share)) for n in shape.top),
    )
