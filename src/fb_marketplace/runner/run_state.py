"""State of a run, which the runner and the hooks share through the catalog."""

from dataclasses import dataclass, field
from typing import Final

from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline

from fb_marketplace.observability.log_filters import suppress_warnings
from fb_marketplace.observability.run_report import RunReport
from fb_marketplace.runner.order import order_by_stage
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.run_records import NodeFingerprint

RUN_STATE: Final = "run_state"
"""Catalog entry of the state. It exists during a run only."""


@dataclass
class RunState:
    """State of a run.

    Attributes:
        report: the run report.
        fingerprints: fingerprint of each executed node.
        digests: digest of datasets that nodes read, by name and version.
        reused: version of each dataset that the run reused instead of computing it.
        skipped: reason for each dataset that could not be created.
        newly_skipped: those that the latest run could create, or skipped for another reason.
        retained: for each model that was not trained again, the share of its data that has changed since.
    """

    report: RunReport
    fingerprints: dict[str, NodeFingerprint] = field(default_factory=dict)
    digests: dict[tuple[str, str], str] = field(default_factory=dict)
    reused: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    newly_skipped: dict[str, str] = field(default_factory=dict)
    retained: dict[str, float] = field(default_factory=dict)


def start_run(pipeline: Pipeline, catalog: DataCatalog) -> RunState:
    """Create the state of a run."""
    state = RunState(RunReport([node.name for node in order_by_stage(pipeline)]))
    catalog[RUN_STATE] = MemoryDataset(state, copy_mode="assign")
    return state


def run_state(pipeline: Pipeline, catalog: DataCatalog) -> RunState:
    """Return the state of the current run; a new one if no hook has started it."""
    if RUN_STATE not in catalog:
        return start_run(pipeline, catalog)
    state: RunState = catalog.load(RUN_STATE)
    return state


def replace_with_skipped(name: str, catalog: DataCatalog, reason: str) -> None:
    """Replace a dataset that could not be created with the reason, for the rest of the run."""
    with suppress_warnings("kedro.io.data_catalog"):
        catalog[name] = MemoryDataset(Skipped(reason), copy_mode="assign")
