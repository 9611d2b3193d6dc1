"""Metrics, confidence intervals and figures shared by the pipelines."""
