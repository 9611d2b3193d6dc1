"""ONNX encoders of photos and texts."""
