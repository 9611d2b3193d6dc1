"""Parameters of the listings pipeline."""

from typing import Annotated, Literal

from pydantic import Field

from fb_marketplace.parameters.base import Parameters


class GazetteerParameters(Parameters):
    """Selection of the towns in the gazetteer."""

    country: Annotated[str, Field(pattern="^[A-Z]{2}$", description="ISO 3166")]
    min_population: Literal[500, 1000, 5000, 15000]
