"""What a user deploys: numpy and ONNX Runtime only."""
