"""Parameters of the sample pipeline."""

from typing import Annotated

from pydantic import Field

from fb_marketplace.parameters.base import Parameters, Seed


class SampleParameters(Parameters):
    """Size and seed of the generated marketplace."""

    products: Annotated[int, Field(ge=60, description="number of listings")]
    seed: Seed
