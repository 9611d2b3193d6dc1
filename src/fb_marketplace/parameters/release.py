"""Parameters of the release pipeline."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fb_marketplace.parameters.base import Parameters, Share


class ReleaseParameters(Parameters):
    """Canaries of a release, and the requirements of the gate."""

    renamed: ClassVar[Mapping[str, str]] = {"compare": "compare_with_current"}

    canaries: Annotated[int, Field(ge=1, le=32)]
    floors: dict[str, Share]
    compare_with_current: bool
    bootstrap_samples: Annotated[int, Field(ge=100)]
    confidence: Annotated[
        float, Field(gt=0.5, lt=1, description="that an equally good release is accepted")
    ]
    seed: Annotated[int, Field(ge=0)]


class SearchParameters(Parameters):
    """The engine that servers search the vectors of a release with."""

    engine: Annotated[
        Literal["faiss", "lance"],
        Field(
            description="faiss: files that servers copy; lance: tables that they read from the lake"
        ),
    ]
    min_indexed_vectors: Annotated[
        int,
        Field(ge=256, description="smaller Lance tables have no index: all vectors are compared"),
    ]
