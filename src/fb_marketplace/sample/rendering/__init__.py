"""Rendering of sample photos."""
