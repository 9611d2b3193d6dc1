"""Parameters of the embeddings pipeline."""

from fb_marketplace.parameters.base import Count, Parameters


class EmbeddingParameters(Parameters):
    """Batch sizes of encoding and of commits."""

    photos_per_batch: Count
    rows_per_commit: Count
