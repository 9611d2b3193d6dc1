"""Typed parameters of the pipeline ``ranking``; see :mod:`fb_marketplace.parameters.cleaning`."""

from typing import Annotated

from pydantic import Field

from fb_marketplace.parameters.base import Count, NotNegative, Parameters, Positive, Seed


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


class RankingEvaluationParameters(Parameters):
    """How a search is measured."""

    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed
