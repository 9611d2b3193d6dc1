"""Parameters of the indexing pipeline."""

from typing import Annotated, Literal

from pydantic import Field

from fb_marketplace.parameters.base import Count, Parameters


class IndexParameters(Parameters):
    """The kind of index, and how much of what is nearest it has to find."""

    kind: Literal["auto", "flat", "ivf_sq8", "ivf_rabitq", "hnsw"]
    recall: Annotated[float, Field(gt=0, le=1, description="of the ten nearest, the share found")]
    queries: Annotated[int, Field(ge=2, description="that the recall is measured on")]
    flat_up_to: Annotated[int, Field(ge=0, description="vectors; so few are always flat")]
    hnsw_up_to: Annotated[int, Field(ge=0, description="vectors; of more no graph is tried")]
    rows_per_part: Count
    seed: Annotated[int, Field(ge=0)]


class RetrievalParameters(Parameters):
    """How the search is measured and shown."""

    pixels_side: Literal[8, 16, 32, 64]
    sheet_queries: Annotated[int, Field(ge=2, description="half of them found, half missed")]
    sheet_hits: Annotated[int, Field(ge=1, le=10)]
    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
