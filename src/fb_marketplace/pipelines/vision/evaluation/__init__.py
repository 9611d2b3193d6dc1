"""Metrics, calibration, abstention, fusion and the model card."""
