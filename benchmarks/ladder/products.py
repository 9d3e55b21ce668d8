"""What the machine allows a training step: its layers' matrix products alone, each by the fastest way there is."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from recprune.model.shape import Shape

Product = Callable[[], Tensor]
TRIES = 5


def products(shape: Shape, batch: int) -> list[Product]:
    """Return the products of one step: of each layer the forward one, and the gradients' by its input and its weight.

    The numbers need no gradient. Operands lie in memory as a step has them.
    """
    found: list[Product] = []
    for name, inputs, outputs in shape.layers():
        x, weight, gradient = torch.randn(batch, inputs), torch.randn(outputs, inputs), torch.randn(batch, outputs)
        found.append(fastest(x, weight))
        if name != "bottom.0":
            found.append(fastest(gradient, weight.t()))
        found.append(fastest(gradient.t(), x.t()))
    return found


def fastest(x: Tensor, y: Tensor) -> Product:
    """Return x · yᵀ by the fastest of: MKL, oneDNN, oneDNN with the operands exchanged."""
    ways: list[Product] = [lambda: torch.mm(x, y.t())]
    if torch.backends.mkldnn.is_available():
        onednn = torch.ops.mkldnn._linear_pointwise
        ways.append(lambda: onednn(x, y, None, "none", [], ""))
        ways.append(lambda: onednn(y, x, None, "none", [], ""))
    return min(ways, key=_seconds)


def _seconds(way: Product) -> float:
    way()
    best = float("inf")
    for _ in range(TRIES):
        begun = time.process_time()
        way()
        best = min(best, time.process_time() - begun)
    return best


def layer_flops(shape: Shape) -> int:
    """Count the floating point operations of a row in those products."""
    return sum(2 * n * m * (2 if name == "bottom.0" else 3) for name, n, m in shape.layers())
