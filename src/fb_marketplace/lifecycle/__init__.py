"""Retention, pruning and erasure of listings."""
