"""Outputs of earlier runs that a run may reuse."""

from dataclasses import dataclass, field
from typing import Any, Self

from kedro.io import DataCatalog, MemoryDataset
from kedro.io.core import Version
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from fb_marketplace.runner.fingerprints import UNKNOWN
from fb_marketplace.storage.run_records import NodeFingerprint, RunRecords


@dataclass
class History:
    """Latest executions of the nodes of a pipeline.

    Attributes:
        latest: latest version of each dataset.
        skipped: reason for each dataset that the latest run could not create.
        executions: fingerprint and version of the latest recorded execution of each node.
        digests: digest of datasets by name and version.
        seconds: duration of the latest recorded execution of each node.
    """

    latest: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    executions: dict[str, tuple[NodeFingerprint, str]] = field(default_factory=dict)
    digests: dict[tuple[str, str], str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, records: RunRecords, pipeline: Pipeline, catalog: DataCatalog) -> Self:
        """Read the run records, newest first, until all nodes and datasets of a pipeline are known."""
        history = cls()
        datasets = {
            name for name in pipeline.datasets() if getattr(catalog.get(name), "_version", None)
        }
        nodes = {node.name for node in pipeline.nodes if datasets & set(node.outputs)}
        for record in records.newest_first():
            known = history.latest.keys() | history.skipped.keys()
            if datasets <= known and nodes <= history.executions.keys():
                break
            version = record.version
            history.latest |= {
                name: written for name, written in record.outputs.items() if name not in known
            }
            history.skipped |= {
                name: reason for name, reason in record.skipped.items() if name not in known
            }
            for name, fingerprint in record.fingerprints.items():
                history.executions.setdefault(name, (fingerprint, version))
            for name, seconds in record.seconds.items():
                history.seconds.setdefault(name, seconds)
            history.digests |= {(name, version): value for name, value in record.digests.items()}
        return history

    def changes(self, node: Node, fingerprint: NodeFingerprint, catalog: DataCatalog) -> list[str]:
        """List the reasons why the latest outputs of a node cannot be reused; empty if they can."""
        if node.name not in self.executions:
            return ["first run"]
        earlier, _ = self.executions[node.name]
        if changes := fingerprint.changes_since(earlier):
            return changes
        if unknown := [name for name, value in fingerprint.inputs.items() if value == UNKNOWN]:
            return unknown
        return self.missing_outputs(node, catalog)

    def missing_outputs(self, node: Node, catalog: DataCatalog) -> list[str]:
        """List the outputs of a node's latest execution that do not exist."""
        _, version = self.executions[node.name]
        return [
            f"{name} is missing"
            for name in node.outputs
            if not self._has_output(name, version, catalog)
        ]

    def outputs_of(self, node: Node) -> dict[str, str]:
        """Return the version of each versioned output of a node's latest execution."""
        _, version = self.executions[node.name]
        return {name: version for name in node.outputs if self.latest.get(name) == version}

    def _has_output(self, name: str, version: str, catalog: DataCatalog) -> bool:
        dataset: Any = catalog.get(name)
        if isinstance(dataset, MemoryDataset) or name in self.skipped:
            return True
        pinned = getattr(dataset, "_version", None)
        if pinned is None:
            return bool(dataset.exists())
        if self.latest.get(name) != version:
            return False
        dataset._version = Version(version, pinned.save)
        return bool(dataset.exists())
