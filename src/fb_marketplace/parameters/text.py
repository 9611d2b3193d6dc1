"""Parameters of the text pipeline."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fb_marketplace.parameters.base import (
    Count,
    NotNegative,
    Parameters,
    Positive,
    RetrainedParameters,
    Seed,
    Share,
)


class TextEncoderParameters(RetrainedParameters):
    """Weights and precision of the sentence encoder."""

    renamed: ClassVar[Mapping[str, str]] = {"rows_per_commit": "texts_per_shard"}

    weights: Literal["package", "random"]
    precision: Literal["auto", "fp32", "int8"]
    precision_texts: Annotated[int, Field(ge=10, description="listings that int8 is compared on")]
    texts_per_shard: Count
    seed: Seed


class BM25Parameters(Parameters):
    """BM25's ``k1`` and ``b``, and the weight of a word in a title."""

    k1: Positive
    b: Share
    title_weight: Count


class ProjectionParameters(RetrainedParameters):
    """Fit of the projection of texts and photos into a common space."""

    renamed: ClassVar[Mapping[str, str]] = {"listings": "max_listings"} | dict.fromkeys(
        [
            "hidden_dim",
            "dropout",
            "learning_rate",
            "weight_decay",
            "epochs",
            "batch_size",
            "temperature",
        ],
        "photo_ridge` and `text_ridge",  # of linear maps, in place of networks
    )

    max_listings: Count
    max_validation_listings: Count
    title_weight: Share
    dimension: Count
    correlation_power: NotNegative
    photo_ridge: Annotated[tuple[Positive, ...], Field(min_length=1)]
    text_ridge: Annotated[tuple[Positive, ...], Field(min_length=1)]
    seed: Seed
