"""Faults injected into the sample: rows, texts, photos and files."""
