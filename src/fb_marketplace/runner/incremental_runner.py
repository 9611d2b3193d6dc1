"""Runner that executes only the nodes whose outputs may have changed."""

from collections import Counter
from itertools import chain
from typing import Any, ClassVar, Final

from kedro.io import DataCatalog, MemoryDataset
from kedro.io.core import Version
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner
from kedro.runner.task import Task

from fb_marketplace.runner.fingerprints import content_digest, digest, node_fingerprint
from fb_marketplace.runner.history import History
from fb_marketplace.runner.order import order_by_stage
from fb_marketplace.runner.run_state import run_state
from fb_marketplace.storage.run_records import NodeFingerprint

REQUESTED: Final = "requested"
"""Reason why a node is computed if the user asked for it."""


class IncrementalRunner(SequentialRunner):
    """Runs nodes one after the other, and reuses the latest outputs of each node that has not changed.

    A node has changed if the content of its inputs, its parameters, its code, the libraries or the options
    of its catalog entries differ from those of its latest outputs. If a node writes the same content
    again, nodes that read it are reused. A node whose outputs stay in memory runs only if a node that is
    executed reads them.
    """

    is_incremental: ClassVar[bool] = True

    def _run(
        self,
        pipeline: Pipeline,
        catalog: Any,
        hook_manager: Any = None,
        run_id: str | None = None,
    ) -> None:
        run = _Run(self, pipeline, catalog, hook_manager, run_id)
        for node in order_by_stage(pipeline):
            run.process(node)


class RecomputingRunner(IncrementalRunner):
    """Runs all nodes, and records their fingerprints for later runs."""

    is_incremental: ClassVar[bool] = False


class _Run:
    def __init__(
        self,
        runner: IncrementalRunner,
        pipeline: Pipeline,
        catalog: DataCatalog,
        hook_manager: Any,
        run_id: str | None,
    ) -> None:
        self._runner, self._pipeline, self._catalog = runner, pipeline, catalog
        self._hook_manager, self._run_id = hook_manager, run_id
        self._state = run_state(pipeline, catalog)
        self._history = History.read(catalog.load("run_records"), pipeline, catalog)
        self._state.report.expected = self._history.seconds
        self._state.digests |= self._history.digests
        self._consumers = Counter(chain.from_iterable(node.inputs for node in pipeline.nodes))
        # Nodes that have not run, by each of their outputs in memory.
        self._deferred: dict[str, Node] = {}
        self._in_memory: dict[str, str] = {}
        self._fingerprints: dict[str, NodeFingerprint] = {}

    def process(self, node: Node) -> None:
        """Execute, reuse or defer a node."""
        fingerprint = node_fingerprint(node, self._catalog, self._input_digests(node))
        in_memory = [name for name in node.outputs if self._is_in_memory(name)]
        self._in_memory |= {name: digest([fingerprint, name]) for name in in_memory}
        self._fingerprints[node.name] = fingerprint
        if in_memory and len(in_memory) == len(node.outputs):
            self._deferred |= dict.fromkeys(in_memory, node)
            return
        changes = self._changes(node, fingerprint)
        if changes:
            self._execute(node, changes)
            return
        for name, version in self._history.outputs_of(node).items():
            self._set_version(name, version)
            self._state.reused[name] = version
        self._deferred |= dict.fromkeys(in_memory, node)
        self._state.report.reuse_node(node.name)

    def _execute(self, node: Node, changes: list[str]) -> None:
        for name in node.inputs:
            if name in self._deferred:
                self._execute(self._deferred[name], [])
        for name in node.outputs:
            self._deferred.pop(name, None)
            self._state.reused.pop(name, None)
            self._set_version(name, self._run_id)
        self._state.report.start_node(node.name, changes)
        is_async = self._runner._is_async
        Task(node, self._catalog, is_async, self._hook_manager, self._run_id).execute()
        self._state.report.end_node()
        self._state.fingerprints[node.name] = self._fingerprints[node.name]
        self._runner._release_datasets(node, self._catalog, self._consumers, self._pipeline)

    def _changes(self, node: Node, fingerprint: NodeFingerprint) -> list[str]:
        if not self._runner.is_incremental:
            return [REQUESTED]
        return self._history.changes(node, fingerprint, self._catalog)

    def _input_digests(self, node: Node) -> dict[str, str]:
        return {
            name: self._digest(name)
            for name in sorted(set(node.inputs))
            if (getattr(self._catalog.get(name), "metadata", None) or {}).get(
                "affects_outputs", True
            )
        }

    def _digest(self, name: str) -> str:
        """Return the digest of an input, which an earlier run may have recorded."""
        if name in self._in_memory:
            return self._in_memory[name]
        version = getattr(self._catalog.get(name), "_version", None)
        if version is None:
            return content_digest(name, self._catalog)
        digests, key = self._state.digests, (name, version.load)
        if key not in digests:
            digests[key] = content_digest(name, self._catalog)
        return digests[key]

    def _is_in_memory(self, name: str) -> bool:
        return isinstance(self._catalog.get(name), MemoryDataset)

    def _set_version(self, name: str, version: str | None) -> None:
        dataset: Any = self._catalog.get(name)
        if getattr(dataset, "_version", None):
            dataset._version = Version(version, self._run_id)
