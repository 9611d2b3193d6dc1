"""Parameters of the baselines pipeline."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fb_marketplace.parameters.base import Count, Parameters, RetrainedParameters, Share


class TextFeatureParameters(Parameters):
    """N-gram ranges of words and characters, and their minimum document frequencies."""

    word_ngrams: tuple[Count, Count]
    character_ngrams: tuple[Count, Count]
    min_listings_word: Count
    min_listings_characters: Count


class KernelParameters(Parameters):
    """Kernel ridge regression of the log price."""

    penalty: Annotated[float, Field(gt=0)]
    error_penalty: Annotated[float, Field(gt=0)]
    max_listings: Count


class PriceModelParameters(Parameters):
    """Price models and their evaluation."""

    separator: Annotated[str, Field(min_length=1)]
    trim: tuple[Share, Share]
    min_path_listings: Count
    min_town_listings: Count
    ridge_penalties: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    kernel: KernelParameters
    coverage: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _check_trim(self) -> Self:
        if self.trim[0] >= self.trim[1]:
            raise ValueError(f"trim must be two increasing shares, but is {list(self.trim)}")
        return self


class CategoryModelParameters(Parameters):
    """Models of the root category."""

    renamed: ClassVar = {
        "words_strength": "bow_C",
        "text_strengths": "text_C_grid",
        "pixels_strength": "pixel_C",
        "place_weight": "location_weight",
        "pixels_side": "thumbnail_size",
    }

    bow_C: Annotated[float, Field(gt=0)]
    text_C_grid: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    naive_bayes_weights: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
    naive_bayes_smoothing: Annotated[float, Field(gt=0)]
    sentence_weights: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
    sentence_penalty: Annotated[float, Field(gt=0)]
    max_sentence_listings: Count
    location_weight: Annotated[float, Field(ge=0)]
    thumbnail_size: Literal[8, 16, 32, 64]
    max_pixel_photos: Count
    pixel_C: Annotated[float, Field(gt=0)]


class BaselineParameters(RetrainedParameters):
    """Baseline models and the bootstrap."""

    text: TextFeatureParameters
    price: PriceModelParameters
    category: CategoryModelParameters
    max_listings: Count
    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
