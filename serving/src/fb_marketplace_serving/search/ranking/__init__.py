"""Features and models that rank candidates and judge their relevance."""
