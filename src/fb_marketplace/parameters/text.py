"""Parameters of the text pipeline."""

from typing import Annotated, Literal

from pydantic import Field

from fb_marketplace.parameters.base import Count, NotNegative, Parameters, Positive, Seed, Share


class TextEncoderParameters(Parameters):
    """The encoder of texts."""

    weights: Literal["package", "random"]
    precision: Literal["auto", "fp32", "int8"]
    precision_texts: Annotated[int, Field(ge=10, description="that int8 is judged by")]
    rows_per_commit: Count
    seed: Seed


class BM25Parameters(Parameters):
    """How words are weighed."""

    k1: Positive
    b: Share
    title_weight: Count


class ProjectionParameters(Parameters):
    """How words are brought to pictures."""

    listings: Count
    hidden: Count
    dimension: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    rate: Positive
    weight_decay: NotNegative
    epochs: Count
    batch: Annotated[int, Field(ge=2)]
    temperature: Positive
    seed: Seed
