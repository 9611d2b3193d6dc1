"""The project's pipelines by name. ``__default__`` runs everything from a bucket to a release."""

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any, Final

from kedro.pipeline import Pipeline

STAGES: Final = {
    "cleaning": ("cleaning.create_pipeline",),
    # The text model of categories reads the embeddings of texts.
    "baselines": ("text.create_embedding_pipeline", "baselines.create_pipeline"),
    # The evaluation reads the embeddings of all photos.
    "vision": (
        "vision.create_pipeline",
        "embeddings.create_pipeline",
        "vision.evaluation.create_evaluation_pipeline",
    ),
    "indexing": ("vision.create_comparison_pipeline", "indexing.create_pipeline"),
    "search": (
        "text.create_embedding_pipeline",
        "text.create_pipeline",
        "listings.create_pipeline",
        "pricing.create_pipeline",
        "baselines.create_price_pipeline",
        "ranking.create_pipeline",
    ),
    "release": ("release.create_pipeline",),
}
"""Functions in ``pipelines`` that create each part of ``__default__``."""

PIPELINES: Final = {
    **STAGES,
    "__default__": tuple(function for functions in STAGES.values() for function in functions),
    "embeddings": ("embeddings.create_pipeline",),
    "vision_evaluation": ("vision.evaluation.create_evaluation_pipeline",),
    "text": ("text.create_embedding_pipeline", "text.create_pipeline"),
    "listings": ("listings.create_pipeline",),
    "pricing": ("pricing.create_pipeline", "baselines.create_price_pipeline"),
    "ranking": ("ranking.create_pipeline",),
    # These run only if they are named.
    "sample": ("sample.create_pipeline",),
    "embeddings_json": ("embeddings.create_export_pipeline",),
    "tune": (
        "ranking.create_tuning_pipeline",
        "vision.create_tuning_pipeline",
        "tune.create_pipeline",
    ),
}
"""Functions in ``pipelines`` that create each pipeline."""


class LazyPipeline(Pipeline):
    """A pipeline that is created, and its nodes imported, when it is first read."""

    def __init__(self, create: Callable[[], Pipeline]) -> None:
        self._create = create

    def __getattr__(self, name: str) -> Any:
        # Called for attributes that are not set yet: those of an unread pipeline.
        if name.startswith("__") or "_nodes" in vars(self):
            raise AttributeError(name)
        vars(self).update(vars(self._create()))
        return getattr(self, name)


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name.

    Kedro's own discovery requires each stage's package to import its pipeline, and with it Kedro. Every
    worker process that reads photos would then import Kedro too.
    """
    return {name: LazyPipeline(partial(_combine, parts)) for name, parts in PIPELINES.items()}


def _combine(functions: tuple[str, ...]) -> Pipeline:
    return sum((_create(function) for function in functions), start=Pipeline([]))


@cache
def _create(function: str) -> Pipeline:
    package, _, name = function.rpartition(".")
    module = import_module(f"fb_marketplace.pipelines.{package}.pipeline")
    pipeline: Pipeline = getattr(module, name)()
    return pipeline
