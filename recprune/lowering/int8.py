"""Dynamic int8: weights of the fully connected layers as 8-bit integers, activations quantized as they come."""

from pathlib import Path

import onnx


def quantize(source: Path, target: Path) -> None:
    """Write the int8 version of a graph; embedding tables stay float."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source, target, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8, per_channel=True)
    onnx.checker.check_model(onnx.load(target))
