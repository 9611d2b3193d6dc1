"""Hooks: what a run needs is looked at when it starts, and the versions that it reads are fixed; what each
node did is written down, and what was read and made when it ends well.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.io.core import Version
from kedro.pipeline import Pipeline

from fb_marketplace.datasets.lance_table import LanceTableDataset
from fb_marketplace.errors import UserError
from fb_marketplace.observability.log_filters import install_redaction
from fb_marketplace.observability.versions import code_revision, library_versions
from fb_marketplace.storage.run_records import RunRecord, RunRecords
from fb_marketplace_serving.storage.lake import register_s3

RUN_REPORT: Final = "run_report"
"""The entry of the catalog under which reports are found; not of a node, since it is of all nodes."""

logger = logging.getLogger(__name__)


class VersioningHooks:
    """Each run reads fixed versions, and leaves ``runs/<version>.json`` as the last thing it writes."""

    def __init__(self) -> None:
        self._started = ""
        self._read: dict[str, str] = {}

    @hook_impl
    def after_context_created(self) -> None:
        """Set timeouts and retries before the first bucket is opened, and keep its keys out of logs."""
        install_redaction()
        register_s3()

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
        if RUN_REPORT in catalog:
            made[RUN_REPORT] = this_run
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
