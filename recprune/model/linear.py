"""Fully connected layers by the faster of the two matrix products that torch brings along.

Torch multiplies float32 by Intel's MKL, which on other makers' processors leaves half of their speed unused; oneDNN,
which comes with it too, does not (docs/results/performance.md). oneDNN takes a dozen microseconds to begin, so that
small products stay where they were. The choice follows from the sizes alone: same sizes, same bytes. On a GPU all
products are torch's own.

Legend: N rows, K inputs, M outputs.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

NARROWEST = 8
"""Rows, inputs and outputs from which on oneDNN is faster."""
SMALLEST = 2**20
"""Multiplications, N · K · M, from which on it is."""
_ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether this torch was built with oneDNN."""


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, rectified: bool = False) -> Tensor:
    """Return x · weightᵀ + bias, or max(0, that): (N, K), (M, K), (M,) → (N, M)."""
    if x.dim() == 2 and _is_large(x, weight):
        apply: Callable[..., Tensor] = _Linear.apply
        return apply(x, weight, bias, rectified)
    found = functional.linear(x, weight, bias)
    return torch.relu(found) if rectified else found


def product(x: Tensor, y: Tensor) -> Tensor:
    """Return x · yᵀ: (N, K), (M, K) → (N, M)."""
    return _onednn(x, y, None) if _is_large(x, y) else x @ y.t()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, rectified: bool) -> Tensor:
        """Compute the layer; max(0, ·) in the same go."""
        found = _onednn(x, weight, bias, "relu" if rectified else "none")
        ctx.save_for_backward(x, weight, found if rectified else None)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by x, weight and bias."""
        x, weight, found = ctx.saved_tensors
        if found is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, found, 0.0)
        by_x = product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        by_weight = _transposed_product(gradient, x) if ctx.needs_input_grad[1] else None
        by_bias = (_ones(len(gradient)) @ gradient).squeeze(0) if ctx.needs_input_grad[2] else None
        return by_x, by_weight, by_bias, None


def _transposed_product(gradient: Tensor, x: Tensor) -> Tensor:
    """Return gradientᵀ · x: (N, M), (N, K) → (M, K). oneDNN copies its first operand: the much narrower one, if any."""
    if 2 * x.shape[1] <= gradient.shape[1]:
        return product(x.t(), gradient.t()).t().contiguous()
    return product(gradient.t(), x.t())


@lru_cache(maxsize=64)
def _ones(rows: int) -> Tensor:
    return torch.ones(1, rows)


def _is_large(x: Tensor, y: Tensor) -> bool:
    rows, (outputs, inputs) = len(x), y.shape
    is_worth_it = min(rows, inputs, outputs) >= NARROWEST and rows * inputs * outputs >= SMALLEST
    return _ONEDNN and is_worth_it and x.dtype == torch.float32 and x.is_cpu


def _onednn(x: Tensor, y: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, y, bias, then, [], "")
    return found
