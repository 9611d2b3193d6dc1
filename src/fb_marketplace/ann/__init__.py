"""Index selection and BM25 indexing for the pipelines."""
