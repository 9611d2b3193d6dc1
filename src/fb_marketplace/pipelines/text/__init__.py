"""Text embeddings, text indexes and the projection between texts and photos."""
