"""Hook that pins the versions of a run's inputs, and writes a record of a successful run."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.io.core import Version
from kedro.pipeline import Pipeline

from fb_marketplace.datasets.lance_table import LanceTableDataset
from fb_marketplace.diagnostics.requirements import dataset_url
from fb_marketplace.errors import UserError
from fb_marketplace.hooks.run_context import (
    RUN_REPORT,
    run_parameters,
    timestamp,
    versioned_datasets,
)
from fb_marketplace.observability.log_filters import install_redaction
from fb_marketplace.observability.versions import code_revision, library_versions
from fb_marketplace.runner.run_state import replace_with_skipped, run_state
from fb_marketplace.storage.run_records import RunRecord, RunRecords
from fb_marketplace_serving.storage.lake import register_s3
from fb_marketplace_serving.storage.urls import join

SEQUENTIAL_RUNNERS: Final = ("SequentialRunner", "IncrementalRunner", "RecomputingRunner")

logger = logging.getLogger(__name__)


class VersioningHooks:
    """Pins the versions that a run reads, and writes ``runs/<version>.json`` as its last file."""

    def __init__(self) -> None:
        self._started = ""
        self._inputs: dict[str, str] = {}

    @hook_impl
    def after_context_created(self) -> None:
        """Set timeouts and retries before a bucket is opened, and redact its credentials in logs."""
        install_redaction()
        register_s3()

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Set the version of every versioned input and output.

        Raises:
            UserError: no successful run has created an input, or the runner is not supported.
        """
        # Kedro passes the requested name, or a description of its default runner.
        runner = run_params.get("runner") or "SequentialRunner"
        if not any(name in runner for name in SEQUENTIAL_RUNNERS):
            raise UserError(
                f"Runner {runner} is not supported; omit --runner. Nodes already use all cores, and "
                "results would not be reproducible."
            )
        self._started = timestamp()
        outputs = pipeline.all_outputs()
        datasets = versioned_datasets(pipeline.datasets(), catalog)
        sources = {
            name: (getattr(dataset, "metadata", None) or {}).get("previous_of", name)
            for name, dataset in datasets.items()
            if name not in outputs
        }
        requested = run_params["load_versions"] or {}
        records = catalog.load("run_records")
        # The other hooks read it too.
        this_run = run_params["run_id"] = records.next_version(run_params["run_id"])
        skipped = records.skipped(sources.keys() - requested.keys())
        for name, reason in skipped.items():
            replace_with_skipped(name, catalog, reason)
            del sources[name], datasets[name]
        versions = _input_versions(sources, requested, records)
        for name, dataset in datasets.items():
            load = this_run if name in outputs else versions[name]
            dataset._version = Version(load, this_run)
        self._inputs = {name: version for name, version in versions.items() if version}

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Write the run record, which makes the run's outputs the latest versions."""
        this_run = run_params["run_id"]
        datasets = versioned_datasets(pipeline.all_outputs(), catalog)
        for dataset in datasets.values():
            if isinstance(dataset, LanceTableDataset):
                dataset.seal()
        state = run_state(pipeline, catalog)
        outputs = dict.fromkeys(datasets.keys() - state.reused.keys(), this_run)
        logger.info("%s", state.report.summary())
        if not outputs and not state.newly_skipped:
            if state.reused:
                newest = max(state.reused.values())
                kind = "release" if state.reused.get("release") else "run"
                logger.info("No changes since %s %s", kind, state.reused.get("release", newest))
            return
        if RUN_REPORT in catalog:
            outputs[RUN_REPORT] = this_run
        record = RunRecord(
            version=this_run,
            pipelines=tuple(run_params["pipeline_names"] or ("__default__",)),
            environment=run_params["env"] or "base",
            started=self._started,
            ended=timestamp(),
            inputs=self._inputs,
            outputs=outputs,
            skipped={
                name: reason
                for name, reason in state.skipped.items()
                if name in pipeline.all_outputs()
            },
            parameters=run_parameters(pipeline, catalog),
            libraries=library_versions(),
            code_revision=code_revision(),
            fingerprints=state.fingerprints,
            digests={
                name: value
                for (name, version), value in state.digests.items()
                if version == this_run
            },
            seconds={
                node.name: round(node.seconds, 3) for node in state.report.nodes if not node.skipped
            },
            retained=state.retained,
        )
        records = catalog.load("run_records")
        records.lake.sync(
            _location(datasets[name], this_run) for name in outputs if name in datasets
        )
        records.write(record)
        logger.info("Run %s succeeded and wrote %d datasets", this_run, len(outputs))


def _location(dataset: Any, version: str) -> str:
    """Return the location of a version; of a table, which has all versions in one folder, that folder."""
    url = dataset_url(dataset)
    return url if isinstance(dataset, LanceTableDataset) else join(url, version)


def _input_versions(
    sources: Mapping[str, str], requested: Mapping[str, str], records: RunRecords
) -> dict[str, str | None]:
    """Find the version of each input.

    Args:
        sources: catalog entry by input: the input itself, or the entry whose previous version it is. A
            previous version may not exist.
        requested: versions by input, from the command line.
        records: records of the lake's runs.
    """
    unused = sorted(requested.keys() - sources.keys())
    if unused:
        raise UserError(
            f"--load-versions has {', '.join(unused)}, which this run does not read, or computes itself. "
            f"It reads {', '.join(sorted(sources)) or 'no versions'}."
        )
    latest = records.latest({entry for name, entry in sources.items() if name not in requested})
    versions = {name: requested.get(name) or latest.get(entry) for name, entry in sources.items()}
    missing = [name for name, entry in sources.items() if not versions[name] and entry == name]
    if missing:
        raise UserError(
            f"No successful run has produced {', '.join(missing)}. Run the pipeline that creates it first "
            "(`kedro run` runs all), or pass --load-versions."
        )
    return versions
