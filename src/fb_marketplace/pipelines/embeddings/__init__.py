"""Embeddings: one vector per photo, computed by the served encoder."""
