"""Search for better parameters of the ranker and of the heads."""
