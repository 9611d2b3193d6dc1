"""Hooks: what a run needs is looked at when it starts, and the versions that it reads are fixed; what each
node did is written down, and what was read and made when it ends well.
"""

import json
import logging
from collections.abc import Generator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.io.core import Version
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from fb_marketplace import storage
from fb_marketplace.datasets.lance_table import LanceTableDataset
from fb_marketplace.doctor import examine
from fb_marketplace.errors import UserError
from fb_marketplace.provenance import code_revision, library_versions
from fb_marketplace.redaction import keep_out_of_logs, redacted
from fb_marketplace.run_needs import needs_of, url_of
from fb_marketplace.run_report import RunReport
from fb_marketplace.runs import RunRecord, RunRecords
from fb_marketplace.store_errors import one_line
from fb_marketplace_serving.lake import Lake

REPORT: Final = "run_report"
"""The entry of the catalog under which reports are found; not of a node, since it is of all nodes."""

logger = logging.getLogger(__name__)


class DoctorHooks:
    """What a run needs is looked at before any work."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Look at what this run needs, and no more.

        Raises:
            UserError: something is wrong; a line for each.
        """
        needs = needs_of(pipeline.inputs(), pipeline.all_outputs(), catalog)
        wrong = [str(found) for found in examine(needs) if found.state == "fails"]
        if wrong:
            raise UserError("\n".join(wrong))


class VersionHooks:
    """Each run reads fixed versions, and leaves ``runs/<version>.json`` as the last thing it writes."""

    def __init__(self) -> None:
        self._started = ""
        self._read: dict[str, str] = {}

    @hook_impl
    def after_context_created(self) -> None:
        """Set timeouts and retries before the first bucket is opened, and keep its keys out of logs."""
        keep_out_of_logs()
        storage.configure()

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Fix the version of every versioned dataset that the run reads or makes.

        Raises:
            UserError: a dataset that is to be read was made by no run that ended well.
        """
        # Kedro gives the name that was asked for, or else how its own runner describes itself.
        runner = run_params.get("runner") or "SequentialRunner"
        if "SequentialRunner" not in runner:
            raise UserError(
                f"found the runner {runner}; leave --runner out: the stages share the cores among "
                "themselves, tables are not handed from process to process, and what is random would "
                "depend on which node came first"
            )
        self._started = _now()
        this_run, made = run_params["run_id"], pipeline.all_outputs()
        datasets = _versioned(pipeline.datasets(), catalog)
        sources = {
            name: (getattr(dataset, "metadata", None) or {}).get("previous_of", name)
            for name, dataset in datasets.items()
            if name not in made
        }
        asked = run_params["load_versions"] or {}
        versions = _versions_to_read(sources, asked, catalog.load("run_records"))
        for name, dataset in datasets.items():
            load = this_run if name in made else versions[name]
            dataset._version = Version(load, this_run)
        self._read = {name: read for name, read in versions.items() if read}

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Write what the run read and made; from here on it is the latest."""
        this_run = run_params["run_id"]
        datasets = _versioned(pipeline.all_outputs(), catalog)
        for dataset in datasets.values():
            if isinstance(dataset, LanceTableDataset):
                dataset.seal()
        made = dict.fromkeys(datasets, this_run)
        if not made:
            return
        if REPORT in catalog:
            made[REPORT] = this_run
        parameters = {
            name.removeprefix("params:"): catalog.load(name)
            for name in sorted(pipeline.inputs())
            if name.startswith("params:")
        }
        record = RunRecord(
            version=this_run,
            pipelines=tuple(run_params["pipeline_names"] or ("__default__",)),
            environment=run_params["env"] or "base",
            started=self._started,
            ended=_now(),
            read=self._read,
            made=made,
            parameters={name: _plain(value) for name, value in parameters.items()},
            libraries=library_versions(),
            code_revision=code_revision(),
        )
        catalog.load("run_records").write(record)
        logger.info("run %s ended well and made %d datasets", this_run, len(made))


class ReportHooks:
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
            function = getattr(node.func, "__name__", node.name)
            self._report.at(node.name, function)

    def _write(
        self,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: DataCatalog,
        error: Exception | None = None,
    ) -> None:
        makes_something = _versioned(pipeline.all_outputs(), catalog)
        if not self._report or not makes_something or REPORT not in catalog:
            return
        version = run_params["run_id"]
        about = {
            "version": version,
            "ended": "failed" if error else "well",
            "error": redacted(one_line(error)) if error else None,
            "pipelines": run_params["pipeline_names"] or ["__default__"],
            "environment": run_params["env"] or "base",
            "started": self._started,
        }
        told = self._report.plain([node.name for node in pipeline.nodes], about)
        place = url_of(catalog.get(REPORT))
        # Not by saving it: that is done once a version, and leaves half a file where it is interrupted.
        text = json.dumps(told, indent=1, ensure_ascii=False).encode()
        Lake(place).replace(f"{version}/{place.rpartition('/')[2]}", text)


def _versions_to_read(
    sources: Mapping[str, str], asked: Mapping[str, str], records: RunRecords
) -> dict[str, str | None]:
    """Find the version of each dataset that is to be read.

    Args:
        sources: the datasets, and the name under which each was made: its own, unless what an earlier
            run left is wanted, which may be nothing.
        asked: versions by name, from the command line.
        records: of the lake's runs.
    """
    ignored = sorted(asked.keys() - sources.keys())
    if ignored:
        raise UserError(
            f"--load-versions names {', '.join(ignored)}, which this run makes or does not read; "
            f"it reads {', '.join(sorted(sources)) or 'no versions'}"
        )
    latest = records.latest({of for name, of in sources.items() if name not in asked})
    versions = {name: asked.get(name) or latest.get(of) for name, of in sources.items()}
    missing = [name for name, of in sources.items() if not versions[name] and of == name]
    if missing:
        raise UserError(
            f"nothing to read for {', '.join(missing)}: no run that ended well made it. Run the "
            "pipeline that makes it first (`kedro run` runs all), or name a version by --load-versions"
        )
    return versions


def _versioned(names: Iterable[str], catalog: DataCatalog) -> dict[str, Any]:
    """Give the versioned datasets among these, by name."""
    datasets = {
        name: catalog.get(name)
        for name in sorted(names)
        if not name.startswith("params:") and name != "parameters"
    }
    return {name: each for name, each in datasets.items() if getattr(each, "_version", None)}


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
