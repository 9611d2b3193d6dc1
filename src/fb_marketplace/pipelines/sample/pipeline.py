"""The sample pipeline."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.parameters.sample import SampleParameters
from fb_marketplace.sample.bucket import SampleBucket, generate_bucket


def generate_sample(parameters: SampleParameters) -> SampleBucket:
    """Return a generated marketplace; the dataset writes its files."""
    return generate_bucket(parameters.products, parameters.seed)


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return Pipeline(
        [node(generate_sample, "params:sample", "sample_lake", name="generate_sample")],
        namespace="sample",
        prefix_datasets_with_namespace=False,
    )
