"""Parameters of the sample pipeline."""

from typing import Annotated

from pydantic import Field

from fb_marketplace.parameters.base import Parameters


class SampleParameters(Parameters):
    """The embedded marketplace."""

    products: Annotated[int, Field(ge=60, description="listings to draw")]
    seed: Annotated[int, Field(ge=0)]
