"""Hook that writes the run report."""

import json
from collections.abc import Generator
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from fb_marketplace.diagnostics.requirements import dataset_url
from fb_marketplace.hooks.versioning import RUN_REPORT, _now, _versioned, logger
from fb_marketplace.observability.log_filters import redact
from fb_marketplace.observability.run_report import RunReport
from fb_marketplace.storage.error_advice import one_line
from fb_marketplace_serving.storage.lake import Lake


class ReportingHooks:
    """Each run leaves a report of what its nodes did, however it ends; a run that makes nothing, none.

    A node begins where its first input is about to be loaded and ends where the next begins: what a
    generator does, it does while its outputs are saved, after Kedro has called ``after_node_run``.
    """

    def __init__(self) -> None:
        self._report: RunReport | None = None
        self._started = ""

    @hook_impl(trylast=True)
    def before_pipeline_run(self) -> None:
        """Begin."""
        self._report, self._started = RunReport(), _now()

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Note which node is at work."""
        self._at(node)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Note what it reads."""
        if self._report and not dataset_name.startswith("params:"):
            self._report.read(dataset_name, data)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Note which node is at work; it may read nothing."""
        self._at(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Note what it made."""
        if self._report:
            self._report.made(dataset_name, data)

    @hook_impl(wrapper=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> Generator[None, None, None]:
        """Write the report before the record, which is the last thing that a run writes."""
        if self._report:
            self._report.end()
            self._write(run_params, pipeline, catalog)
            for line in self._report.lines():
                logger.info("%s", line)
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
        """Write what was done, and what failed."""
        if not self._report:
            return
        self._report.end(failed=True)
        try:
            self._write(run_params, pipeline, catalog, error)
        except Exception as unwritten:  # noqa: BLE001 - the error that is told is the first
            logger.warning("the report of this run could not be written: %s", one_line(unwritten))
        for line in self._report.lines():
            logger.info("%s", line)

    def _at(self, node: Node) -> None:
        if self._report:
            self._report.at(_short_name(node))

    def _write(
        self,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: DataCatalog,
        error: Exception | None = None,
    ) -> None:
        makes_something = _versioned(pipeline.all_outputs(), catalog)
        if not self._report or not makes_something or RUN_REPORT not in catalog:
            return
        version = run_params["run_id"]
        about = {
            "version": version,
            "ended": "failed" if error else "well",
            "error": redact(one_line(error)) if error else None,
            "pipelines": run_params["pipeline_names"] or ["__default__"],
            "environment": run_params["env"] or "base",
            "started": self._started,
        }
        told = self._report.plain([_short_name(node) for node in pipeline.nodes], about)
        place = dataset_url(catalog.get(RUN_REPORT))
        # Not by saving it: that is done once a version, and leaves half a file where it is interrupted.
        text = json.dumps(told, indent=1, ensure_ascii=False).encode()
        Lake(place).replace(f"{version}/{place.rpartition('/')[2]}", text)


def _short_name(node: Node) -> str:
    """Return the name of a node without its stage."""
    return node.name.rpartition(".")[2]
