"""Sample: the embedded marketplace, into a local and empty raw root."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.parameters.sample import SampleParameters
from fb_marketplace.sample.bucket import SampleLake, draw_lake


def draw(parameters: SampleParameters) -> SampleLake:
    """Draw a marketplace of the asked size."""
    return draw_lake(parameters.products, parameters.seed)


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline([node(draw, "params:sample", "sample_lake")])
