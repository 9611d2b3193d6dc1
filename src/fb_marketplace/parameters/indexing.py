"""Parameters of the indexing pipeline."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fb_marketplace.parameters.base import (
    Count,
    RetrainedParameters,
    RetrainRule,
    WhenGrown,
)


class IndexParameters(RetrainedParameters):
    """The kind of index and its required recall, and the rule that says when to select again."""

    renamed: ClassVar[Mapping[str, str]] = {
        "flat_up_to": "flat_max_vectors",
        "hnsw_up_to": "hnsw_max_vectors",
    }

    retrain: Annotated[RetrainRule, Field(exclude=True)] = WhenGrown(when_grown=0.5)
    kind: Literal["auto", "flat", "ivf_pq", "ivf_rabitq", "ivf_sq8", "hnsw"]
    recall: Annotated[float, Field(gt=0, le=1, description="required Recall@10")]
    queries: Annotated[int, Field(ge=2, description="for measuring the recall")]
    flat_max_vectors: Annotated[int, Field(ge=0, description="auto is flat up to this number")]
    hnsw_max_vectors: Annotated[int, Field(ge=0, description="auto tries hnsw up to this number")]
    rows_per_part: Count
    seed: Annotated[int, Field(ge=0)]


class RetrievalParameters(RetrainedParameters):
    """Evaluation of photo retrieval, and the rule that says when to compare embeddings again."""

    renamed: ClassVar[Mapping[str, str]] = {"pixels_side": "thumbnail_size"}

    retrain: Annotated[RetrainRule, Field(exclude=True)] = WhenGrown(when_grown=0.1)
    max_queries: Count
    max_sampled_photos: Count
    thumbnail_size: Literal[8, 16, 32, 64]
    sheet_queries: Annotated[int, Field(ge=2, description="half of them found, half missed")]
    sheet_hits: Annotated[int, Field(ge=1, le=10)]
    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
