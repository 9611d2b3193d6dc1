"""Configuration of the engine that work per row runs on: ``compute.yml``."""

from typing import Annotated, Literal

from pydantic import Field

from fb_marketplace.parameters.base import Count, Parameters


class RayParameters(Parameters):
    """Tasks of the engine ``ray``."""

    shards_per_core: Count
    memory_per_task: Annotated[int, Field(ge=0, description="bytes")]
    max_retries: Annotated[int, Field(ge=0, description="of a task whose worker ended")]


class ComputeParameters(Parameters):
    """The engine, and its tasks."""

    engine: Literal["local", "ray"]
    ray: RayParameters
