"""From a trained line to an ONNX file."""
