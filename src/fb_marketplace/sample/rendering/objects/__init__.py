"""Drawings of objects, one module per kind."""
