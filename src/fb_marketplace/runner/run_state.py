"""State of a run, which the runner and the hooks share through the catalog."""

from dataclasses import dataclass, field
from typing import Final

from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline

from fb_marketplace.observability.run_report import RunReport
from fb_marketplace.runner.order import order_by_stage
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
    """

    report: RunReport
    fingerprints: dict[str, NodeFingerprint] = field(default_factory=dict)
    digests: dict[tuple[str, str], str] = field(default_factory=dict)
    reused: dict[str, str] = field(default_factory=dict)


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
