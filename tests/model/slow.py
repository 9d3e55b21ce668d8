"""The networks once more, row by row and number by number, in float64: what the fast ones are compared with."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.data.features import FeatureSet
from recprune.model import network
from recprune.model.line import Line

Floats = NDArray[np.float64]
Gone = Mapping[str, Collection[int]]
"""Positions, by kind, of groups whose activation is zero; a vector that is gone is not attended to."""


def slow_logits(line: Line, events: FeatureSet, gone: Gone | None = None) -> list[float]:
    """Return the logit of each event."""
    numbers = line.standardize(torch.tensor(events.numbers)).double().numpy()
    return [slow_logit(line, rows_of(line, ids), n, gone) for ids, n in zip(events.ids, numbers, strict=True)]


def double_logits(line: Line, events: FeatureSet) -> list[float]:
    """Return the logit of each event by the package's own forward pass, weights taken as float64."""
    weights = {name: tensor.double() for name, tensor in line.weights.items()}
    embedded = weights["embedding"][line.look_up(torch.tensor(events.ids))[0]]
    numbers = line.standardize(torch.tensor(events.numbers)).double()
    found: list[float] = network.logits(line.shape, weights, embedded, numbers).tolist()
    return found


def rows_of(line: Line, ids: NDArray[np.int32]) -> list[Floats]:
    """Return the embedding row of each feature; of one that has no rows, NaN."""
    table, start, rows = line.weights["embedding"].double().numpy(), 0, []
    for size, number in zip(line.sizes, ids, strict=True):
        rows.append(table[start + number] if size else np.full(line.shape.embedding, np.nan))
        start += size
    return rows


def slow_logit(line: Line, embedded: list[Floats], numbers: Floats, gone: Gone | None = None) -> float:
    """Return the logit of one row.

    Args:
        line: of any family.
        embedded: a row per categorical feature, read or not.
        numbers: standardized.
        gone: groups to leave out.
    """
    slow, shape = _Slow({k: v.double().numpy() for k, v in line.weights.items()}, gone or {}), line.shape
    read = set(shape.attended) or {v for i in shape.inputs for v in shape.vectors_of(i)}
    read -= {shape.attended[i] for i in slow.gone.get("vectors", ())}
    every = ([np.full(shape.embedding, np.nan)] if shape.numeric else []) + list(embedded)
    vectors = {v: every[v] for v in sorted(read)}
    if shape.numeric and 0 in read:
        vectors[0] = slow.tower("bottom", len(shape.bottom), numbers)
    if shape.family == "autoint":
        for i in range(shape.attention):
            vectors = slow.attend(f"attention.{i}", shape.heads, vectors)
    inputs = np.array([_input(vectors, shape.vectors_of(i), i % shape.embedding) for i in shape.inputs])
    inputs[list(slow.gone.get("inputs", ()))] = 0
    columns = sum(1 for i in shape.inputs if i < shape.columns) if shape.family == "deepfm" else len(inputs)
    (logit,) = slow.tower("top", len(shape.top), slow.crossed(shape.cross, inputs)[:columns])
    if shape.family == "deepfm":
        logit += slow.linear("wide", inputs)[0]
    return float(logit)


def _input(vectors: Mapping[int, Floats], needs: tuple[int, ...], column: int) -> float:
    if not set(needs) <= vectors.keys():
        return 0.0
    found = [vectors[v] for v in needs]
    return float(found[0][column]) if len(found) == 1 else float(sum(a * b for a, b in zip(*found, strict=True)))


@dataclass(frozen=True)
class _Slow:
    weights: Mapping[str, Floats]
    gone: Gone

    def linear(self, name: str, x: Floats) -> Floats:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return np.array([sum(float(w) * float(y) for w, y in zip(row, x, strict=True)) for row in weight]) + bias

    def tower(self, part: str, hidden: int, x: Floats) -> Floats:
        for i in range(hidden):
            x = np.maximum(self.linear(f"{part}.{i}", x), 0.0)
            x[list(self.gone.get(f"{part}.{i}", ()))] = 0
        return self.linear(f"{part}.{hidden}", x)

    def crossed(self, layers: int, start: Floats) -> Floats:
        x = start
        for i in range(layers):
            x = start * self.linear(f"cross.{i}", x) + x
        return x

    def attend(self, name: str, heads: int, vectors: Mapping[int, Floats]) -> dict[int, Floats]:
        query, key, value, residual = (
            {v: self.linear(f"{name}.{p}", x) for v, x in vectors.items()}
            for p in ("query", "key", "value", "residual")
        )
        found = {}
        for v in vectors:
            mixed = []
            for place in np.split(np.arange(len(vectors[v])), heads):
                score = {w: float(query[v][place] @ key[w][place]) / math.sqrt(len(place)) for w in vectors}
                total = sum(math.exp(s) for s in score.values())
                mixed.append(sum(math.exp(score[w]) / total * value[w][place] for w in vectors))
            found[v] = np.maximum(np.concatenate(mixed) + residual[v], 0.0)
        return found


def zeros(line: Line, kept: Mapping[str, Tensor]) -> dict[str, set[int]]:
    """Return, of what is kept, what goes."""
    return {kind: set(range(line.shape.widths()[kind])) - set(index.tolist()) for kind, index in kept.items()}
