"""Fully connected layers by the faster of the two matrix products that torch brings along.

Torch multiplies float32 by Intel's MKL, which on other makers' processors leaves half of their speed unused; oneDNN,
which comes with it too, does not (docs/results/performance.md). oneDNN takes a dozen microseconds to begin, so that
small products stay where they were. The choice follows from the sizes alone: same sizes, same bytes. On a GPU all
products are torch's own.

Where it is asked for, the products of large layers, forward and backward, read operands rounded to bfloat16 (8
significant bits) and are summed in float32 (Kalamkar et al. 2019, arXiv 1905.12322); their results are rounded once
more. Weights, their moments and everything between two products stay in float32.

Legend: N rows, K inputs, M outputs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recprune.environment import cpu_bfloat16
from recprune.errors import SettingsError

NARROWEST = 8
"""Rows, inputs and outputs from which on oneDNN is faster."""
SMALLEST = 2**20
"""Multiplications, N · K · M, from which on it is."""
WIDEST_EXACT = 63
"""Inputs or outputs up to which a layer is never rounded: rounding its operands would take longer than it saves."""
_ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether this torch was built with oneDNN."""
_ROUNDS: ContextVar[bool] = ContextVar("rounds", default=False)
"""Whether large products read bfloat16, in this thread."""


def bfloat16_by(precision: str, device: torch.device) -> str | None:
    """Return the processor's instructions that `train.precision` takes to multiply bfloat16: none for `fp32`.

    Raises:
        SettingsError: bfloat16 is asked for, and the lines learn on a GPU, or processor or torch cannot multiply it
            faster than float32.
    """
    if precision == "fp32":
        return None
    found = cpu_bfloat16() if _ONEDNN and device.type == "cpu" else None
    if found is None:
        why = "this processor has neither AVX512_BF16 nor AMX_BF16, without which it is slower than fp32"
        why = why if _ONEDNN else "this torch was built without oneDNN, which multiplies it"
        out = "Write train.precision: fp32."
        if device.type != "cpu":
            why, out = "the lines learn on a GPU, which makes no use of it", f"{out[:-1]}, or train.device: cpu."
        raise SettingsError(f"params.yaml: train.precision is {precision}, but {why}. {out}")
    return found


@contextmanager
def products_in(precision: str, device: torch.device) -> Iterator[None]:
    """Compute large products in `fp32` or `bf16`, as `train.precision` says, in this thread.

    Raises:
        SettingsError: as in `bfloat16_by`.
    """
    before = _ROUNDS.set(bfloat16_by(precision, device) is not None)
    try:
        yield
    finally:
        _ROUNDS.reset(before)


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, rectified: bool = False) -> Tensor:
    """Return x · weightᵀ + bias, or max(0, that): (N, K), (M, K), (M,) → (N, M)."""
    if x.dim() == 2 and _is_large(x, weight):
        rounds = _ROUNDS.get() and min(weight.shape) > WIDEST_EXACT
        apply: Callable[..., Tensor] = (_Rounded if rounds else _Linear).apply
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


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, rectified: bool) -> Tensor:
        """Compute the layer of rounded operands; max(0, ·) in the same go."""
        x, weight = x.bfloat16(), weight.bfloat16()
        found = _onednn(x, weight, bias.bfloat16(), "relu" if rectified else "none").float()
        ctx.save_for_backward(x, weight, found if rectified else None)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by x, weight and bias."""
        x, weight, found = ctx.saved_tensors
        if found is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, found, 0.0)
        rounded = gradient.bfloat16()
        by_x = _onednn(rounded, weight.t(), None).float() if ctx.needs_input_grad[0] else None
        by_weight = _onednn(rounded.t(), x.t(), None).float() if ctx.needs_input_grad[1] else None
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
