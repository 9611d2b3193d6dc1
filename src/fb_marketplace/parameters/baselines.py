"""Parameters of the baselines pipeline."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fb_marketplace.parameters.base import Count, Parameters, Share


class TextFeatureParameters(Parameters):
    """Which runs of words and characters are counted."""

    word_ngrams: tuple[Count, Count]
    character_ngrams: tuple[Count, Count]
    min_listings_word: Count
    min_listings_characters: Count


class TreeParameters(Parameters):
    """Gradient-boosted trees, by LightGBM's names where it has one."""

    objective: Literal["regression", "regression_l1", "huber"]
    learning_rate: Annotated[float, Field(gt=0)]
    num_leaves: Annotated[int, Field(ge=2)]
    min_child_samples: Count
    colsample_bytree: Annotated[float, Field(gt=0, le=1)]
    subsample: Annotated[float, Field(gt=0, le=1)]
    reg_lambda: Annotated[float, Field(ge=0)]
    rounds: Count
    patience: Count
    components: Count


class PriceModelParameters(Parameters):
    """Models of the price, and how they are measured."""

    separator: Annotated[str, Field(min_length=1)]
    trim: tuple[Share, Share]
    min_path_listings: Count
    min_town_listings: Count
    ridge_penalties: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    trees: TreeParameters
    coverage: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _something_is_left_when_trimmed(self) -> Self:
        if self.trim[0] >= self.trim[1]:
            raise ValueError(f"trim must be two rising shares; found {list(self.trim)}")
        return self


class CategoryModelParameters(Parameters):
    """Models of the root category."""

    words_strength: Annotated[float, Field(gt=0)]
    text_strengths: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    naive_bayes_weights: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
    naive_bayes_smoothing: Annotated[float, Field(gt=0)]
    place_weight: Annotated[float, Field(ge=0)]
    pixels_side: Literal[8, 16, 32, 64]
    pixels_strength: Annotated[float, Field(gt=0)]


class BaselineParameters(Parameters):
    """What any model has to beat."""

    text: TextFeatureParameters
    price: PriceModelParameters
    category: CategoryModelParameters
    folds: Annotated[int, Field(ge=2)]
    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
