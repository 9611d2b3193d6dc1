"""Batch inference, probabilities, and model input and output shared by the pipelines."""
