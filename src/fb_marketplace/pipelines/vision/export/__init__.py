"""ONNX export, quantization and features of the frozen backbone."""
