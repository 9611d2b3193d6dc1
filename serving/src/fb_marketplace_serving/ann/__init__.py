"""Approximate and exact nearest-neighbor search."""
