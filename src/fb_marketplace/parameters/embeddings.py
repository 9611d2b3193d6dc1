"""Parameters of the embeddings pipeline."""

from typing import ClassVar

from fb_marketplace.parameters.base import Count, Parameters


class EmbeddingParameters(Parameters):
    """Photos that the encoder computes at a time, and photos that a worker encodes and saves at a time."""

    renamed: ClassVar = {"rows_per_commit": "photos_per_shard"}

    photos_per_batch: Count
    photos_per_shard: Count
