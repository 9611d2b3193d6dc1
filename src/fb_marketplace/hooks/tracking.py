"""Hook that logs runs to MLflow, if ``FB_MLFLOW_URI`` is set."""

import json
import logging
import os
import time
from collections.abc import Mapping
from typing import Any, Final

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.io.core import DatasetError
from kedro.pipeline import Pipeline

from fb_marketplace.datasets.png import PNGDataset
from fb_marketplace.hooks.run_context import RUN_REPORT, run_parameters, versioned_datasets
from fb_marketplace.observability.experiment_tracking import (
    URI_VARIABLE,
    TrackedRun,
    check_installed,
    epoch_metrics,
    estimates,
    log_run,
)
from fb_marketplace.observability.log_filters import redact
from fb_marketplace.observability.versions import code_revision, library_versions
from fb_marketplace.runner.run_state import run_state
from fb_marketplace.storage.error_advice import one_line

METRICS: Final = (
    "vision_metrics",
    "category_metrics",
    "price_metrics",
    "retrieval_metrics",
    "ranking_metrics",
    "price_insight_metrics",
)
HISTORY: Final = "training_history"
MODEL_CARD: Final = "model_card"

logger = logging.getLogger(__name__)


class TrackingHooks:
    """Logs a run to MLflow when it has ended: parameters, and metrics and figures that the run wrote.

    A run that reuses everything is not logged. A run never fails because of the tracking server.
    """

    def __init__(self) -> None:
        self._uri = ""
        self._started = 0.0

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Start, if the variable is set.

        Raises:
            UserError: MLflow is not installed.
        """
        self._uri, self._started = os.environ.get(URI_VARIABLE, "").strip(), time.time()
        if self._uri:
            check_installed()

    @hook_impl(trylast=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Log a successful run, after its record is written."""
        if self._uri and _written(pipeline, catalog):
            self._log(run_params, pipeline, catalog)

    @hook_impl(trylast=True)
    def on_pipeline_error(
        self,
        error: Exception,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: DataCatalog,
    ) -> None:
        """Log a failed run, after its report is written."""
        if self._uri:
            self._log(run_params, pipeline, catalog, error)

    def _log(
        self,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: DataCatalog,
        error: Exception | None = None,
    ) -> None:
        try:
            run = _tracked_run(run_params, pipeline, catalog, self._started, error)
            run_id = log_run(self._uri, run)
        except Exception as failure:  # noqa: BLE001 - the run itself is complete
            logger.warning(
                "The run was not logged to %s: %s", redact(self._uri), redact(one_line(failure))
            )
        else:
            logger.info("Logged to %s as MLflow run %s", redact(self._uri), run_id)


def _tracked_run(
    run_params: dict[str, Any],
    pipeline: Pipeline,
    catalog: DataCatalog,
    started: float,
    error: Exception | None,
) -> TrackedRun:
    version = run_params["run_id"]
    datasets = _written(pipeline, catalog)
    content = {
        name: datasets[name].load() for name in (*METRICS, HISTORY, MODEL_CARD) if name in datasets
    }
    files = {
        f"figures/{name}.png": dataset.load().read()
        for name, dataset in datasets.items()
        if isinstance(dataset, PNGDataset)
    }
    if MODEL_CARD in content:
        files["model_card.md"] = content[MODEL_CARD].encode()
    tags = {
        "run_version": version,
        "pipelines": ", ".join(run_params["pipeline_names"] or ["__default__"]),
        "environment": run_params["env"] or "base",
        "code_revision": code_revision(),
        **{f"library.{name}": value for name, value in library_versions().items()},
    }
    if error:
        tags["error"] = redact(one_line(error))
    return TrackedRun(
        name=version,
        failed=error is not None,
        started=started,
        tags=tags,
        parameters=run_parameters(pipeline, catalog),
        metrics={
            metric: value
            for name in METRICS
            if name in content
            for metric, value in estimates(content[name], name).items()
        },
        history=epoch_metrics(content.get(HISTORY, ())),
        files=files | _report(version, catalog),
    )


def _written(pipeline: Pipeline, catalog: DataCatalog) -> Mapping[str, Any]:
    """Return the versioned datasets that this run has written."""
    report = run_state(pipeline, catalog).report
    executed = {node.name for node in report.nodes if not (node.skipped or node.failed)}
    outputs = {name for node in pipeline.nodes if node.name in executed for name in node.outputs}
    return versioned_datasets(outputs, catalog)


def _report(version: str, catalog: DataCatalog) -> dict[str, bytes]:
    """Return the run report as a file; nothing if the run has none."""
    if RUN_REPORT not in catalog:
        return {}
    try:
        report = catalog.load(RUN_REPORT, version=version)
    except DatasetError:
        return {}
    return {"run_report.json": json.dumps(report, indent=1, ensure_ascii=False).encode()}
