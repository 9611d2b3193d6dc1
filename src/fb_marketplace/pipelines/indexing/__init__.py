"""Indexing: an index of photo embeddings, and the evaluation of photo retrieval."""
