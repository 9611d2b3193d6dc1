"""Typed parameters of typical prices and notes; see :mod:`fb_marketplace.parameters.cleaning`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from fb_marketplace.parameters.base import Count, Parameters, Share


class PricingParameters(Parameters):
    """What alike listings ask, and what is noted of a price."""

    coverage: Annotated[float, Field(gt=0, lt=1, description="of what is typical")]
    neighbours: Annotated[tuple[Count, ...], Field(min_length=1, description="to choose from")]
    temperature: Annotated[float, Field(gt=0, description="of weights, in cosines")]
    same_path: Annotated[float, Field(ge=0, description="added to the cosine")]
    least_similarity: Share
    least_alike: Count
    least_spread: Annotated[float, Field(gt=0, description="added, in logarithms of the price")]
    shown_alike: Annotated[int, Field(ge=0)]
    unusual_factor: Annotated[float, Field(ge=1)]
    most_photo_notes: Annotated[int, Field(ge=0)]
    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _enough_are_looked_at(self) -> Self:
        if min(self.neighbours) < self.least_alike:
            raise ValueError(
                f"neighbours names {min(self.neighbours)}; expected each to be at least least_alike, "
                f"{self.least_alike}"
            )
        return self
