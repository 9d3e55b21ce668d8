"""A network as pure functions on named tensors, dense or carved, of any family.

Legend: B rows, F categorical features that are read, Q numbers, V vectors that are read, D embedding width,
R rows of the table.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from recprune.model.families import FAMILIES
from recprune.model.families.family import Tensors, tower
from recprune.model.shape import Shape

__all__ = [
    "CLIP",
    "LARGEST",
    "Tensors",
    "compress",
    "initial_rows",
    "initial_weights",
    "logits",
    "pooled",
    "standardize",
]

CLIP = 8.0
"""Largest standardized number."""
LARGEST = 3e38
"""Infinite numbers are taken as this one."""


def initial_weights(shape: Shape, generator: torch.Generator) -> Tensors:
    """Draw the fully connected layers' weights: He's uniform for ReLU, Xavier-like for the others; biases 0.

    The linear part of DeepFM starts as a factorization machine: 1 for pairs, 0 for columns.
    """
    weights: Tensors = {}
    for name, inputs, outputs in shape.layers():
        gain = 1.0 if name.startswith(("top", "bottom")) and name != f"top.{len(shape.top)}" else 0.5**0.5
        bound = gain * (6.0 / max(inputs, 1)) ** 0.5
        weights[f"{name}.weight"] = (torch.rand(outputs, inputs, generator=generator) * 2 - 1) * bound
        weights[f"{name}.bias"] = torch.zeros(outputs)
    if "wide.weight" in weights:
        pairs = torch.arange(len(shape.inputs)) >= shape.counts()["columns"]
        weights["wide.weight"] = pairs.float().unsqueeze(0)
    return weights


def initial_rows(rows: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw embedding rows (R, D): normal, standard deviation 1 / (4·√D)."""
    return torch.randn(rows, width, generator=generator) * (0.25 / math.sqrt(width))


def standardize(numbers: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Return the numbers as the bottom network reads them, with a flag for each missing one (B, 2Q).

    z = (s(x) − mean) / deviation with s(x) = sign(x)·ln(1 + |x|), clipped to ±CLIP; a missing x has z = 0.

    Args:
        numbers: raw numbers (B, Q).
        mean: of s(x) (Q,), float64.
        deviation: of s(x) (Q,), float64. In float32 a number that varies little around a large value
            would be rounding error alone after the division, another one in every runtime.
    """
    missing = torch.isnan(numbers)
    z = (compress(numbers) - mean) / deviation
    z = torch.where(missing, 0.0, z).clamp(-CLIP, CLIP)
    return torch.cat([z, missing.double()], dim=1).float()


def compress(numbers: Tensor) -> Tensor:
    """Return sign(x)·ln(1 + |x|) in float64, infinite x taken as the largest finite one."""
    finite = numbers.double().clamp(-LARGEST, LARGEST)
    return torch.sign(finite) * torch.log1p(torch.abs(finite))


def pooled(shape: Shape, rows: Tensor, factor: Tensor | None) -> Tensor:
    """Return a vector per feature that is read: looked-up rows (B, S, D) → (B, F, D), lists as means or sums.

    v_f = Σ over the ids of f of factor · row; an empty list is 0.
    """
    reading = shape.reading_on(rows.device)
    owners = reading.owners
    if owners is None or factor is None:
        return rows
    found = torch.zeros(len(rows), len(reading.features), rows.shape[2], device=rows.device)
    return found.index_add(1, owners, rows * factor.unsqueeze(2))


def logits(
    shape: Shape,
    weights: Mapping[str, Tensor],
    embedded: Tensor,
    numbers: Tensor,
    keep: Tensors | None = None,
) -> Tensor:
    """Return the logit of each row (B,).

    Args:
        shape: family and sizes; `inputs` says what is read.
        weights: the fully connected layers.
        embedded: embedding rows of the features that are read (B, F, D).
        numbers: standardized numbers (B, 2Q).
        keep: where given, receives the groups' activations: inputs, hidden layers, what the family adds.
    """
    vectors = embedded
    if shape.numeric and 0 in shape.reading.vectors:
        hidden = tower(weights, "bottom", len(shape.bottom), numbers, keep)
        vectors = torch.cat([hidden.unsqueeze(1), embedded], dim=1)  # (B, V, D)
    return FAMILIES[shape.family].logits(shape, weights, vectors, keep)
