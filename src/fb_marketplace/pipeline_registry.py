"""The project's pipelines by name. ``__default__`` runs everything from a bucket to a release."""

from typing import Final

from kedro.pipeline import Pipeline

from fb_marketplace.pipelines.baselines import pipeline as baselines
from fb_marketplace.pipelines.cleaning import pipeline as cleaning
from fb_marketplace.pipelines.embeddings import pipeline as embeddings
from fb_marketplace.pipelines.indexing import pipeline as indexing
from fb_marketplace.pipelines.listings import pipeline as listings
from fb_marketplace.pipelines.pricing import pipeline as pricing
from fb_marketplace.pipelines.ranking import pipeline as ranking
from fb_marketplace.pipelines.release import pipeline as release
from fb_marketplace.pipelines.sample import pipeline as sample
from fb_marketplace.pipelines.text import pipeline as text
from fb_marketplace.pipelines.vision import pipeline as vision

SEARCH: Final = ("text", "listings", "pricing", "ranking")
"""Stages that make up the pipeline ``search``."""

VISION: Final = ("vision", "embeddings", "vision_evaluation")
"""Stages that make up the pipeline ``vision``: the evaluation reads the embeddings of all photos."""


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name.

    These are the stages, the combinations ``vision``, ``search`` and ``__default__``, and the pipelines
    that run only if they are named.

    Kedro's own discovery requires each stage's package to import its pipeline, and with it Kedro. Every
    worker process that reads photos would then import Kedro too.
    """
    stages = {
        "cleaning": cleaning.create_pipeline(),
        "baselines": baselines.create_pipeline(),
        "vision": vision.create_pipeline(),
        "embeddings": embeddings.create_pipeline(),
        "vision_evaluation": vision.create_evaluation_pipeline(),
        "indexing": indexing.create_pipeline(),
        "text": text.create_pipeline(),
        "listings": listings.create_pipeline(),
        "pricing": pricing.create_pipeline(),
        "ranking": ranking.create_pipeline(),
        "release": release.create_pipeline(),
    }
    by_name_only = {
        "sample": sample.create_pipeline(),
        "embeddings_json": embeddings.create_export_pipeline(),
    }
    composed = {
        "vision": sum((stages[name] for name in VISION), start=Pipeline([])),
        "search": sum((stages[name] for name in SEARCH), start=Pipeline([])),
        "__default__": sum(stages.values(), start=Pipeline([])),
    }
    return stages | by_name_only | composed
