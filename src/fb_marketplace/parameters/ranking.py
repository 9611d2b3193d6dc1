"""Parameters of the ranking pipeline."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from fb_marketplace.parameters.base import (
    Count,
    NotNegative,
    Parameters,
    Positive,
    RetrainedParameters,
    Seed,
)


class RankerParameters(RetrainedParameters):
    """Training of the ranker, with LightGBM's parameter names for the trees."""

    renamed: ClassVar[Mapping[str, str]] = {
        "most_trees": "num_boost_round",
        "patience": "early_stopping_rounds",
        "rate": "learning_rate",
        "leaves": "num_leaves",
        "least_in_leaf": "min_data_in_leaf",
        "l2": "lambda_l2",
        "features_a_tree": "feature_fraction",
        "truncation": "lambdarank_truncation_level",
        "least_clicks": "min_clicks",
        "position_bias": "position_bias_exponent",
        "most_weight": "max_click_weight",
    }

    num_boost_round: Count
    early_stopping_rounds: Count
    learning_rate: Positive
    num_leaves: Annotated[int, Field(ge=2)]
    min_data_in_leaf: Count
    lambda_l2: NotNegative
    feature_fraction: Annotated[float, Field(gt=0, le=1)]
    lambdarank_truncation_level: Count
    seed: Seed
    max_queries: Count
    min_clicks: Count
    position_bias_exponent: NotNegative
    max_click_weight: Annotated[float, Field(ge=1)]


class RelevanceParameters(RetrainedParameters):
    """Training of the model that predicts which listings are relevant, with LightGBM's parameter names."""

    precision: Annotated[float, Field(gt=0, le=1)]
    min_queries: Count
    max_queries: Count
    max_test_queries: Count
    max_relevant: Count
    negatives: Count
    num_boost_round: Count
    learning_rate: Positive
    num_leaves: Annotated[int, Field(ge=2)]
    min_data_in_leaf: Count
    lambda_l2: NotNegative
    seed: Seed


class RankingEvaluationParameters(Parameters):
    """Bootstrap of the search metrics, and number of queries."""

    max_queries: Count
    max_typos: Count
    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed
