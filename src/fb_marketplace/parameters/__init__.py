"""Typed parameters, one module per pipeline."""
