"""Serving of fb-marketplace releases: search, classification and embeddings over HTTP."""

__version__ = "0.2.0"
