"""Configuration of the engine that work per row runs on: ``compute.yml``."""

from typing import Annotated, Literal

from pydantic import Field

from fb_marketplace.parameters.base import Count, Parameters


class RayTrainParameters(Parameters):
    """Processes of Ray Train, which train the network, and trials of ``tune``."""

    workers: Annotated[int, Field(ge=0, description="0: the driver trains")]
    cpus_per_worker: Count
    use_gpu: Annotated[bool, Field(description="one per worker")]
    python: Annotated[
        str | None, Field(min_length=1, description="of the workers; None: that of Ray itself")
    ]
    max_failures: Annotated[int, Field(ge=0, description="of a training whose worker was lost")]


class RayParameters(Parameters):
    """Tasks of the engine ``ray``."""

    shards_per_core: Count
    memory_per_task: Annotated[int, Field(ge=0, description="bytes")]
    max_retries: Annotated[int, Field(ge=0, description="of a task whose worker ended")]
    train: RayTrainParameters


class ComputeParameters(Parameters):
    """The engine, and its tasks."""

    engine: Literal["local", "ray"]
    ray: RayParameters
