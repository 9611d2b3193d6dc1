"""Parallel work and graph algorithms."""
