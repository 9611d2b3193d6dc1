"""Parameters of the pipeline ``tune``."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from fb_marketplace.parameters.base import Count, Parameters, Positive, Seed
from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.parameters.vision import (
    FEATURE_PARAMETERS,
    EmbeddingHeadParameters,
    HeadParameters,
)


class SearchRange(Parameters):
    """Values to try: all from ``low`` to ``high``. Both are whole numbers for a whole number."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _is_range(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low is {self.low}; expected at most high, {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}; expected more than 0, since log is true")
        return self


SearchSpace = Mapping[str, SearchRange]


def _check_space(space: SearchSpace, section: type[Parameters]) -> SearchSpace:
    # An excluded field, such as `retrain`, is no parameter of the model.
    known = [name for name, field in section.model_fields.items() if not field.exclude]
    if unknown := sorted(space.keys() - set(known)):
        raise ValueError(f"no parameter {', '.join(unknown)}; expected some of {', '.join(known)}")
    return space


def _check_embedding_space(space: SearchSpace) -> SearchSpace:
    if computed_before := sorted(space.keys() & FEATURE_PARAMETERS):
        raise ValueError(
            f"{', '.join(computed_before)} cannot be tuned: each value needs other block features. Remove "
            "the range, and compare runs with other values of vision.embedding"
        )
    return _check_space(space, EmbeddingHeadParameters)


class VisionSearchSpaces(Parameters):
    """Ranges of parameters in ``vision.head`` and ``vision.embedding``."""

    head: Annotated[SearchSpace, AfterValidator(lambda space: _check_space(space, HeadParameters))]
    embedding: Annotated[SearchSpace, AfterValidator(_check_embedding_space)]


class TuneParameters(Parameters):
    """Search for better values of other parameters, by section. A section without ranges is not tuned."""

    trials: Annotated[Count, Field(description="of a study, with the one of the current values")]
    timeout_s: Annotated[Positive, Field(description="after which a study starts no trial")]
    seed: Seed
    bootstrap_samples: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    ranker: Annotated[
        SearchSpace, AfterValidator(lambda space: _check_space(space, RankerParameters))
    ]
    vision: VisionSearchSpaces

    @property
    def spaces(self) -> dict[str, SearchSpace]:
        """Ranges by section."""
        return {
            "ranker": self.ranker,
            "vision.head": self.vision.head,
            "vision.embedding": self.vision.embedding,
        }
