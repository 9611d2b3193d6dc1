"""Tune: searches for better parameters of the ranker and of the heads."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.tune.report import report_studies
from fb_marketplace.pipelines.tune.search import run_studies


def create_pipeline() -> Pipeline:
    """Build the search; ``ranking`` and ``vision`` create the objectives."""
    return Pipeline(
        [
            node(
                run_studies,
                [
                    "ranker_objective",
                    "head_objective",
                    "embedding_objective",
                    "tuning_work",
                    "params:tune",
                ],
                "tuning_studies",
                name="run_studies",
            ),
            node(
                report_studies,
                ["tuning_studies", "params:tune"],
                ["tuning_trials", "tuned_parameters", "tuning_report", "tuning_history"],
                name="report_studies",
            ),
        ],
        namespace="tune",
        prefix_datasets_with_namespace=False,
    )
