"""Typed parameters of the pipeline ``ranking``; see :mod:`fb_marketplace.parameters`."""

from typing import Annotated, Literal

from pydantic import Field

from fb_marketplace.parameters import Count, Parameters, Share

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]


class SentenceParameters(Parameters):
    """The encoder of texts."""

    weights: Literal["package", "random"]
    precision: Literal["auto", "fp32", "int8"]
    precision_texts: Annotated[int, Field(ge=10, description="that int8 is judged by")]
    rows_per_commit: Count
    seed: Seed


class WordParameters(Parameters):
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


class RankerParameters(Parameters):
    """The trees that put candidates in order."""

    most_trees: Count
    patience: Count
    rate: Positive
    leaves: Annotated[int, Field(ge=2)]
    least_in_leaf: Count
    l2: NotNegative
    features_a_tree: Annotated[float, Field(gt=0, le=1)]
    truncation: Count
    seed: Seed
    least_clicks: Count
    position_bias: NotNegative
    most_weight: Annotated[float, Field(ge=1)]


class RankingMeasureParameters(Parameters):
    """How a search is measured."""

    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed


class PlaceParameters(Parameters):
    """The towns that are known."""

    country: Annotated[str, Field(pattern="^[A-Z]{2}$", description="ISO 3166")]
    min_population: Literal[500, 1000, 5000, 15000]
