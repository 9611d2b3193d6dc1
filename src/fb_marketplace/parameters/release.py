"""Parameters of the release pipeline."""

from typing import Annotated

from pydantic import Field

from fb_marketplace.parameters.base import Parameters, Share


class ReleaseParameters(Parameters):
    """What goes into a release beside the artifacts, and what it has to pass."""

    canaries: Annotated[int, Field(ge=1, le=32)]
    floors: dict[str, Share]
    compare: bool
    bootstrap_samples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1, description="of not refusing an equal one")]
    seed: Annotated[int, Field(ge=0)]
