"""DLRM as pure functions on named tensors, dense or carved.

Naumov et al. 2019, arXiv 1906.00091; the columns of the vectors are inputs of the top network too.

Legend: B rows, F categorical features, Q numbers, V vectors, D embedding width, R rows of the table,
K kept inputs.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from recprune.model.shape import Shape

Tensors = dict[str, Tensor]
CLIP = 8.0
"""Largest standardized number."""
LARGEST = 3e38
"""Infinite numbers are taken as this one."""


def initial_weights(shape: Shape, generator: torch.Generator) -> Tensors:
    """Draw the fully connected layers' weights: He's uniform for ReLU, Xavier-like for the last; biases 0."""
    weights: Tensors = {}
    for name, inputs, outputs in shape.layers():
        gain = 0.5**0.5 if name == f"top.{len(shape.top)}" else 1.0  # no ReLU follows the last
        bound = gain * (6.0 / max(inputs, 1)) ** 0.5
        weights[f"{name}.weight"] = (torch.rand(outputs, inputs, generator=generator) * 2 - 1) * bound
        weights[f"{name}.bias"] = torch.zeros(outputs)
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


def logits(
    shape: Shape,
    weights: Mapping[str, Tensor],
    embedded: Tensor,
    numbers: Tensor,
    keep: Tensors | None = None,
) -> Tensor:
    """Return the logit of each row (B,).

    Args:
        shape: sizes; `inputs` says what the first top layer reads.
        weights: the fully connected layers.
        embedded: embedding rows of the batch (B, F, D).
        numbers: standardized numbers (B, 2Q).
        keep: where given, receives the first top layer's inputs and every hidden layer's activations.
    """
    vectors = embedded
    if shape.numeric:
        hidden = _tower(weights, "bottom", len(shape.bottom), numbers, keep)
        vectors = torch.cat([hidden.unsqueeze(1), embedded], dim=1)  # (B, V, D)
    inputs = select_inputs(shape, vectors)  # (B, K)
    if keep is not None:
        keep["inputs"] = inputs
    return _tower(weights, "top", len(shape.top), inputs, keep).squeeze(1)


def select_inputs(shape: Shape, vectors: Tensor) -> Tensor:
    """Compute the kept columns and pairs of the vectors (B, V, D) → (B, K)."""
    columns = [i for i in shape.inputs if i < shape.columns]
    flat = vectors.flatten(1)
    kept = flat if len(columns) == shape.columns else flat[:, columns]
    pairs = [shape.pair(i) for i in shape.inputs if i >= shape.columns]
    if not pairs:
        return kept
    first, second = [i for i, _ in pairs], [j for _, j in pairs]
    if len(pairs) > len(shape.vectors):  # one matrix product is cheaper than many gathered ones
        dots = torch.bmm(vectors, vectors.transpose(1, 2))[:, first, second]
    else:
        dots = (vectors[:, first] * vectors[:, second]).sum(2)
    return torch.cat([kept, dots], dim=1)


def _tower(weights: Mapping[str, Tensor], part: str, hidden: int, x: Tensor, keep: Tensors | None) -> Tensor:
    for i in range(hidden):
        x = torch.relu(functional.linear(x, weights[f"{part}.{i}.weight"], weights[f"{part}.{i}.bias"]))
        if keep is not None:
            keep[f"{part}.{i}"] = x
    return functional.linear(x, weights[f"{part}.{hidden}.weight"], weights[f"{part}.{hidden}.bias"])
