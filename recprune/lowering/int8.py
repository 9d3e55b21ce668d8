"""Dynamic int8: weights of the fully connected layers as 8-bit integers, activations as they come."""

from pathlib import Path

import onnx


def quantize(source: Path, target: Path) -> None:
    """Write the int8 version of a graph; embedding tables stay float."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kinds = ["MatMul"]  # every Gemm is one, and an Add, by then
    quantize_dynamic(source, target, op_types_to_quantize=kinds, weight_type=QuantType.QInt8, per_channel=True)
    onnx.checker.check_model(onnx.load(target))
