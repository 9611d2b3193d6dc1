"""Parameters of the pricing pipeline."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from fb_marketplace.parameters.base import Count, Parameters, Share


class PricingParameters(Parameters):
    """Price intervals from comparable listings, and price insights."""

    renamed: ClassVar[Mapping[str, str]] = {
        "neighbours": "neighbors",
        "same_path": "same_path_bonus",
        "least_similarity": "min_similarity",
        "least_alike": "min_neighbors",
        "least_spread": "min_spread",
        "shown_alike": "max_evidence",
        "unusual_factor": "outlier_factor",
        "most_photo_notes": "max_photo_matches",
    }

    coverage: Annotated[float, Field(gt=0, lt=1, description="share of prices in an interval")]
    neighbors: Annotated[tuple[Count, ...], Field(min_length=1, description="to choose from")]
    temperature: Annotated[float, Field(gt=0, description="of weights, in cosines")]
    same_path_bonus: Annotated[float, Field(ge=0, description="added to the cosine")]
    min_similarity: Share
    min_neighbors: Count
    min_spread: Annotated[float, Field(gt=0, description="added, in logarithms of the price")]
    max_evidence: Annotated[int, Field(ge=0)]
    outlier_factor: Annotated[float, Field(ge=1)]
    max_photo_matches: Annotated[int, Field(ge=0)]
    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _check_neighbors(self) -> Self:
        if min(self.neighbors) < self.min_neighbors:
            raise ValueError(
                f"neighbors contains {min(self.neighbors)}; each must be at least min_neighbors, "
                f"{self.min_neighbors}"
            )
        return self
