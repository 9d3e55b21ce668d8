"""Fully connected layers as nodes, in fp32 and in 8-bit integers.

Legend: n rows of a call (R where there is one per request, N where one per candidate), K inputs, M outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from recprune.lowering.builder import Builder
from recprune.lowering.lowering import Precision, Ranges
from recprune.model.line import Line

WEIGHT_LIMIT = 63
"""Largest weight as an integer. With 127 the sum of two products, 2 · 255 · 127, overflows the 16 bits in which
processors without VNNI instructions add them: another probability on another machine, silently."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a layer's inputs."""

    name: str
    """Tensor (n, K), or (K, n) where turned."""
    index: NDArray[np.int64]
    """Of each input its number among the layer's; −1: the layer does not read it."""
    turned: bool = False
    request: bool = False
    """Whether n is R, and the outputs are broadcast to N."""


class Layers:
    """Writes the layers of a line.

    Args:
        build: where the nodes go.
        line: whose layers they are.
        precision: of every layer but those of one output, which stay fp32.
        ranges: of the layers' inputs; needed for int8.
    """

    def __init__(self, build: Builder, line: Line, precision: Precision, ranges: Ranges) -> None:
        self._build, self._line, self._precision, self._ranges = build, line, precision, ranges

    def tower(self, part: str, first: Sequence[Part], offset: float = 0.0) -> str:
        """Apply the fully connected layers of `top` or `bottom` → (n, ·); the offset goes to the last bias."""
        hidden = len(getattr(self._line.shape, part))
        x = self.linear(f"{part}.0", first, 0.0 if hidden else offset)
        for i in range(1, hidden + 1):
            layer = f"{part}.{i}"
            x = self._rectified(layer, x)
            x = self.linear(layer, [self.whole(layer, x)], offset if i == hidden else 0.0)
        return x

    def _rectified(self, layer: str, x: str) -> str:
        """Apply ReLU; before an fp32 layer among int8 ones round, too, or the layer below would stay fp32.

        ONNX Runtime drops a ReLU before values that cannot be negative as integers, but joins one before real
        values with its layer, which then is not seen as one of integers.
        """
        with self._build.section("layers"):
            x = self._build.node("Relu", [x])
            if self._precision != "int8" or self._line.weights[f"{layer}.weight"].shape[0] > 1:
                return x
            at = self._quantization(layer)
            return self._build.node("DequantizeLinear", [self._build.node("QuantizeLinear", [x, *at]), *at])

    def _quantization(self, layer: str) -> list[str]:
        """Return the constants by which a layer's inputs become integers."""
        scale, zero = quantization(*self._ranges[layer])
        return [self._build.constant(f"{layer}.scale", scale), self._build.constant(f"{layer}.zero", zero)]

    def whole(self, layer: str, x: str) -> Part:
        """Return all inputs of a layer (n, K) as one part."""
        return Part(x, np.arange(self._line.weights[f"{layer}.weight"].shape[1]))

    def linear(self, layer: str, parts: Sequence[Part], offset: float = 0.0) -> str:
        """Apply a layer to its inputs → (N, M), to those of the request first; (R, M) if there are no others."""
        with self._build.section("layers"):
            weight = self._line.weights[f"{layer}.weight"].numpy()
            bias = self._line.weights[f"{layer}.bias"].numpy() + np.float32(offset)
            total: str | NDArray[np.float32] = bias
            for i, part in enumerate(sorted(parts, key=lambda p: not p.request)):
                self._build.fed.setdefault(layer, []).append((part.name, int(part.turned)))
                name = f"{layer}/{i}" if len(parts) > 1 else layer
                total = self._product(name, layer, part, _read(weight, part.index), total)
            return total if isinstance(total, str) else self._build.constant(f"{layer}.bias", total[None])

    def _product(
        self, name: str, layer: str, part: Part, weight: NDArray[np.float32], total: str | NDArray[np.float32]
    ) -> str:
        precision = self._precision if len(weight) > 1 else "fp32"
        if precision == "int8":
            return self._static(name, layer, part, weight, total)
        if precision == "dynamic_int8":
            return self._dynamic(name, part, weight, total)
        inputs = [part.name, self._build.constant(f"{name}.weight", weight), self._added(name, total)]
        return self._build.node("Gemm", inputs, transA=int(part.turned), transB=1)

    def _added(self, name: str, total: str | NDArray[np.float32]) -> str:
        return total if isinstance(total, str) else self._build.constant(f"{name}.bias", total)

    def _static(
        self, name: str, layer: str, part: Part, weight: NDArray[np.float32], total: str | NDArray[np.float32]
    ) -> str:
        """Write QuantizeLinear, DequantizeLinear and Gemm, which ONNX Runtime makes one integer product."""
        build, at, scale = self._build, self._quantization(layer), quantization(*self._ranges[layer])[0]
        x = build.node("QuantizeLinear", [part.name, *at])
        if part.turned:
            x = build.node("Transpose", [x], perm=[1, 0])
        least = 0.0 if isinstance(total, str) else np.abs(total).astype(np.float64) / (2**30 * float(scale))
        whole, scales = quantized(weight, least)  # a bias is a whole number of steps, too, below 2³¹
        both = self._dequantized(f"{name}.weight", whole, scales)
        inputs = [build.node("DequantizeLinear", [x, *at]), both]
        if isinstance(total, str):
            return build.node("Add", [build.node("Gemm", inputs, transB=1), total])
        steps = scales.astype(np.float64) * float(scale)
        bias = np.clip(np.rint(total / steps), -(2**31) + 1, 2**31 - 1).astype(np.int32)
        added = self._dequantized(f"{name}.bias", bias, steps.astype(np.float32))
        return build.node("Gemm", [*inputs, added], transB=1)

    def _dequantized(self, name: str, whole: NDArray[np.signedinteger[Any]], scales: NDArray[np.float32]) -> str:
        """Write a constant of integers; without zero points, all 0, ONNX Runtime would not see what it can join."""
        zeros = np.zeros(len(scales), whole.dtype)
        parts = {name: whole, f"{name}.scale": scales, f"{name}.zero": zeros}
        return self._build.node("DequantizeLinear", [self._build.constant(*p) for p in parts.items()], axis=0)

    def _dynamic(self, name: str, part: Part, weight: NDArray[np.float32], total: str | NDArray[np.float32]) -> str:
        """Write a product of integers whose scale is taken from the call's own values."""
        build = self._build
        x = build.node("Transpose", [part.name], perm=[1, 0]) if part.turned else part.name
        x, scale, zero = build.nodes_of("DynamicQuantizeLinear", [x], 3)
        whole, scales = quantized(weight)
        product = build.node("MatMulInteger", [x, build.constant(f"{name}.weight", whole.T), zero])
        real = build.node("Cast", [product], to=TensorProto.FLOAT)
        steps = build.node("Mul", [scale, build.constant(f"{name}.weight.scale", scales)])
        return build.node("Add", [build.node("Mul", [real, steps]), self._added(name, total)])


def _read(weight: NDArray[np.float32], index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return a weight's columns by number, zeros for −1."""
    return np.where(index >= 0, weight[:, index], np.float32(0))


def quantization(low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return scale and zero point by which values in a range become 0 to 255: x = scale · (q − zero).

    The range is widened to hold 0, which is exact: what is left out of a sum must count as nothing. A range of 0 alone
    has steps of 1.

    >>> scale, zero = quantization(-1.0, 4.1)
    >>> round(float(scale), 6), int(zero)
    (0.02, 50)
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    scale = max(scale, float(np.finfo(np.float32).tiny))
    return np.array(scale, np.float32), np.array(np.clip(round(-low / scale), 0, 255), np.uint8)


def quantized(
    weight: NDArray[np.float32], least: NDArray[np.float64] | float = 0.0
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a weight (M, K) as integers and the scale of each output (M,).

    >>> whole, scales = quantized(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
    >>> whole.tolist(), [round(float(s), 4) for s in scales]
    ([[31, -63], [0, 0]], [0.0159, 1.0])

    Args:
        weight: of a layer.
        least: smallest scale of each output (M,).
    """
    largest = np.abs(weight).max(1, initial=0.0)
    least = np.maximum(least, np.finfo(np.float32).tiny)
    scales = np.where(largest > 0, np.maximum(largest / WEIGHT_LIMIT, least), np.maximum(least, 1.0)).astype(np.float32)
    whole = np.rint(weight / scales[:, None])
    return np.clip(whole, -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8), scales
