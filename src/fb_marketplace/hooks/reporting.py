"""Hook that writes the run report."""

import json
import logging
from collections.abc import Generator
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from fb_marketplace.diagnostics.requirements import dataset_url
from fb_marketplace.hooks.run_context import RUN_REPORT, timestamp, versioned_datasets
from fb_marketplace.observability.log_filters import redact
from fb_marketplace.observability.run_report import RunReport
from fb_marketplace.runner.run_state import start_run
from fb_marketplace.storage.error_advice import one_line
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.urls import split

logger = logging.getLogger(__name__)


class ReportingHooks:
    """Writes a report of a run's nodes, even if the run fails. A run without versioned outputs has none.

    A node starts when its first input is loaded, and ends when the next node starts. ``after_node_run`` is
    too early: a generator node works while its outputs are saved, after that call.
    """

    def __init__(self) -> None:
        self._report: RunReport | None = None
        self._started = ""

    @hook_impl(trylast=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Start the report."""
        self._report, self._started = start_run(pipeline, catalog).report, timestamp()

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Start the report of the node, at its first input."""
        self._start(node)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Add an input to the report of the node."""
        if self._report and not dataset_name.startswith("params:"):
            self._report.add_input(dataset_name, data)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Start the report of the node, if it has no inputs."""
        self._start(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Add an output to the report of the node."""
        if self._report:
            self._report.add_output(dataset_name, data)

    @hook_impl(wrapper=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> Generator[None, None, None]:
        """Write the report before the run record, which is the last file of a run."""
        if self._report:
            self._report.end()
            self._write(run_params, pipeline, catalog)
        try:
            return (yield)
        except Exception as error:
            self._write(run_params, pipeline, catalog, error)
            raise

    @hook_impl
    def on_pipeline_error(
        self,
        error: Exception,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: DataCatalog,
    ) -> None:
        """Write the report of a failed run."""
        if not self._report:
            return
        self._report.end(failed=True)
        try:
            self._write(run_params, pipeline, catalog, error)
        except Exception as second:  # noqa: BLE001 - the user sees the first error
            logger.warning("The run report could not be written: %s", one_line(second))

    def _start(self, node: Node) -> None:
        if self._report:
            self._report.start_node(node.name)

    def _write(
        self,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: DataCatalog,
        error: Exception | None = None,
    ) -> None:
        has_outputs = versioned_datasets(pipeline.all_outputs(), catalog)
        if not self._report or not has_outputs or RUN_REPORT not in catalog:
            return
        version = run_params["run_id"]
        metadata = {
            "version": version,
            "ended": "failed" if error else "well",
            "error": redact(one_line(error)) if error else None,
            "pipelines": run_params["pipeline_names"] or ["__default__"],
            "environment": run_params["env"] or "base",
            "started": self._started,
        }
        content = json.dumps(self._report.to_dict(metadata), indent=1, ensure_ascii=False)
        url = dataset_url(catalog.get(RUN_REPORT))
        # Not saved through the dataset: it accepts a version only once, and does not write atomically.
        Lake(url).replace(f"{version}/{split(url)[1]}", content.encode())
