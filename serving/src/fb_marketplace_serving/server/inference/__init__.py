"""Admission, uploads and batching."""
