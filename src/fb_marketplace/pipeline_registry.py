"""The pipelines by name; ``__default__`` is the whole way from a bucket to a release."""

import importlib
import pkgutil
from typing import Final

from kedro.pipeline import Pipeline

from fb_marketplace import pipelines as stages

ON_REQUEST: Final = frozenset({"sample", "embeddings_json"})
"""Stages that are run by name only."""


SEARCH: Final = ("text", "listings", "pricing", "ranking")
"""Stages that make up the pipeline ``search``."""


def register_pipelines() -> dict[str, Pipeline]:
    """Give each stage's pipeline under the name of its folder, and all but those on request as the default.

    Kedro's own discovery wants the packages themselves to import their wiring, and with it Kedro: every
    process of a pool that reads photos would pay for that.
    """
    found: dict[str, Pipeline] = {
        stage.name: importlib.import_module(
            f"{stages.__name__}.{stage.name}.pipeline"
        ).create_pipeline()
        for stage in pkgutil.iter_modules(stages.__path__)
    }
    found["search"] = sum((found[name] for name in SEARCH), start=Pipeline([]))
    everything = (pipeline for name, pipeline in found.items() if name not in ON_REQUEST)
    return found | {"__default__": sum(everything, start=Pipeline([]))}
