"""Runner that executes only the nodes whose outputs may have changed."""

import inspect
import logging
import sys
from collections import Counter
from contextlib import suppress
from itertools import chain
from typing import Any, ClassVar, Final, get_args

from kedro.framework.project import pipelines
from kedro.io import DataCatalog, MemoryDataset
from kedro.io.core import Version
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner
from kedro.runner.task import Task

from fb_marketplace.parameters.base import RetrainRule
from fb_marketplace.runner.fingerprints import (
    affects_outputs,
    content_digest,
    digest,
    node_fingerprint,
)
from fb_marketplace.runner.history import History
from fb_marketplace.runner.order import order_by_stage
from fb_marketplace.runner.run_state import replace_with_skipped, run_state
from fb_marketplace.runner.training import TrainingNodes
from fb_marketplace.skipping import InsufficientDataError, Skipped
from fb_marketplace.storage.run_records import NodeFingerprint

REQUESTED: Final = "requested"
"""Reason why a node is computed if the user asked for it."""


class IncrementalRunner(SequentialRunner):
    """Runs nodes one after the other, and reuses the latest outputs of each node that has not changed.

    A node has changed if the content of its inputs, its parameters, its code, the libraries or the options
    of its catalog entries differ from those of its latest outputs. If a node writes the same content
    again, nodes that read it are reused. A node whose outputs stay in memory runs only if a node that is
    executed reads them.

    A node that trains a model, tagged ``fit``, is reused although its data has changed if the rule in its
    parameters, ``retrain``, says so; see :class:`TrainingNodes`.

    A node that raises :class:`InsufficientDataError` is skipped, and so is each node that needs one of its
    outputs.
    """

    is_incremental: ClassVar[bool] = True

    def _run(
        self,
        pipeline: Pipeline,
        catalog: Any,
        hook_manager: Any = None,
        run_id: str | None = None,
    ) -> None:
        # Kedro logs an error for each exception of a node. A skipped node has its own line.
        logging.getLogger("kedro.pipeline.node").addFilter(_is_no_skip)
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
        self._source_digests: dict[tuple[str, str], str] = {}
        self._sources = pipeline.inputs()
        self._state.skipped |= _skipped_inputs(pipeline, catalog)
        self._trainings = TrainingNodes(
            pipeline, catalog, self._fingerprints, self._state.skipped, self._digest
        )

    def process(self, node: Node) -> None:
        """Execute, reuse, skip or defer a node."""
        fingerprint = node_fingerprint(node, self._catalog, self._input_digests(node))
        in_memory = [name for name in node.outputs if self._is_in_memory(name)]
        self._in_memory |= {name: digest([fingerprint, name]) for name in in_memory}
        self._fingerprints[node.name] = fingerprint
        if reason := self._missing_input(node):
            self._skip(node, reason)
            return
        if in_memory and len(in_memory) == len(node.outputs):
            self._deferred |= dict.fromkeys(in_memory, node)
            return
        changes = self._changes(node, fingerprint)
        retained = ""
        if changes and (rule := self._trainings.rule(node)):
            inputs = self._trainings.inputs(node)
            fingerprint = fingerprint.model_copy(update={"training": inputs})
            self._fingerprints[node.name] = fingerprint
            changes, retained = self._changes_of_recipe(node, rule, changes)
        if changes:
            self._execute(node, changes)
            return
        if reasons := [
            self._history.skipped[name] for name in node.outputs if name in self._history.skipped
        ]:
            self._state.report.skip_node(node.name, reasons[0])
            self._skip(node, reasons[0])
            return
        for name, version in self._history.outputs_of(node).items():
            self._set_version(name, version)
            self._state.reused[name] = version
        self._deferred |= dict.fromkeys(in_memory, node)
        if retained:
            self._state.report.keep_node(node.name, retained)
        else:
            self._state.report.reuse_node(node.name)

    def _execute(self, node: Node, changes: list[str]) -> None:
        for name in node.inputs:
            if name in self._deferred:
                self._execute(self._deferred[name], [])
        if reason := self._missing_input(node):
            self._skip(node, reason)
            return
        for name in node.outputs:
            self._deferred.pop(name, None)
            self._state.reused.pop(name, None)
            self._set_version(name)
        self._state.report.start_node(node.name, changes)
        is_async = self._runner._is_async
        try:
            Task(node, self._catalog, is_async, self._hook_manager, self._run_id).execute()
        except InsufficientDataError as error:
            self._state.report.skip_node(node.name, str(error))
            self._skip(node, str(error))
            return
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            with suppress(Exception):  # The first error matters.
                if outdated := self._outdated_inputs(node):
                    error.add_note(
                        f"Other code than today's computed {', '.join(outdated)}. If its format has "
                        "changed, run `kedro run`, which computes all outdated outputs again."
                    )
            raise
        self._state.report.end_node()
        self._state.fingerprints[node.name] = self._fingerprints[node.name]
        self._runner._release_datasets(node, self._catalog, self._consumers, self._pipeline)

    def _skip(self, node: Node, reason: str) -> None:
        """Replace the outputs of a node with the reason why they cannot be created."""
        for name in node.outputs:
            self._deferred.pop(name, None)
            replace_with_skipped(name, self._catalog, reason)
            self._state.skipped[name] = reason
            if self._history.skipped.get(name) != reason:
                self._state.newly_skipped[name] = reason
        untrained = self._fingerprints[node.name].model_copy(update={"training": None})
        self._state.fingerprints[node.name] = untrained
        self._runner._release_datasets(node, self._catalog, self._consumers, self._pipeline)

    def _outdated_inputs(self, node: Node) -> list[str]:
        """Return the inputs that are no outputs of this run, and that other code has computed."""
        creators = [
            other
            for other in pipelines.get("__default__", Pipeline([])).nodes
            if set(other.outputs) & set(node.inputs) and other.name not in self._fingerprints
        ]
        records = self._catalog.load("run_records")
        executions = History.read(records, Pipeline(creators), self._catalog).executions
        return sorted(
            name
            for other in creators
            if other.name in executions
            and executions[other.name][0].code != node_fingerprint(other, self._catalog, {}).code
            for name in set(other.outputs) & set(node.inputs)
        )

    def _missing_input(self, node: Node) -> str | None:
        """Return why an input that the node needs could not be created; None if all were."""
        optional = optional_inputs(node)
        missing = (name for name in node.inputs if name in self._state.skipped.keys() - optional)
        return next((self._state.skipped[name] for name in missing), None)

    def _changes(self, node: Node, fingerprint: NodeFingerprint) -> list[str]:
        if not self._runner.is_incremental:
            return [REQUESTED]
        return self._history.changes(node, fingerprint, self._catalog)

    def _changes_of_recipe(
        self, node: Node, rule: RetrainRule, changes: list[str]
    ) -> tuple[list[str], str]:
        """Return the reasons to train again; or none, and why the model is kept."""
        was_skipped = any(name in self._history.skipped for name in node.outputs)
        is_new = node.name not in self._history.executions or not self._runner.is_incremental
        if rule == "always" or is_new or was_skipped:
            return changes, ""
        earlier, version = self._history.executions[node.name]
        reasons, change = self._trainings.decide(rule, earlier, self._fingerprints[node.name])
        reasons += self._history.missing_outputs(node, self._catalog)
        if reasons:
            return reasons, ""
        self._state.retained[node.name] = round(change.share, 4)
        return [], (
            f"trained on {version}, data changed since (+{change.new:.1%}, -{change.gone:.1%})"
        )

    def _input_digests(self, node: Node) -> dict[str, str]:
        return {
            name: self._digest(name)
            for name in sorted(set(node.inputs))
            if affects_outputs(self._catalog.get(name))
        }

    def _digest(self, name: str) -> str:
        """Return the digest of an input, which an earlier run may have recorded.

        The digest of a source is computed once per run: to list 150,000 photos takes seconds.
        """
        if name in self._state.skipped:
            return digest(["skipped", self._state.skipped[name]])
        if name in self._in_memory:
            return self._in_memory[name]
        version = getattr(self._catalog.get(name), "_version", None)
        if version is None and name not in self._sources:
            return content_digest(name, self._catalog)
        digests = self._state.digests if version else self._source_digests
        key = (name, version.load if version else "")
        if key not in digests:
            digests[key] = content_digest(name, self._catalog)
        return digests[key]

    def _is_in_memory(self, name: str) -> bool:
        return isinstance(self._catalog.get(name), MemoryDataset)

    def _set_version(self, name: str, version: str | None = None) -> None:
        """Set the version to load; by default, the one that the run saves."""
        dataset: Any = self._catalog.get(name)
        if pinned := getattr(dataset, "_version", None):
            dataset._version = Version(version or pinned.save, pinned.save)


def optional_inputs(node: Node) -> frozenset[str]:
    """Return the inputs of a node that may be :class:`Skipped`, by the annotations of its function."""
    parameters = inspect.signature(inspect.unwrap(node.func)).parameters.values()
    return frozenset(
        name
        for name, parameter in zip(node.inputs, parameters, strict=False)
        if Skipped in get_args(parameter.annotation)
    )


def _is_no_skip(_: logging.LogRecord) -> bool:
    return not isinstance(sys.exception(), InsufficientDataError)


def _skipped_inputs(pipeline: Pipeline, catalog: DataCatalog) -> dict[str, str]:
    """Return the reason for each input of a run that an earlier run could not create."""
    datasets = {name: catalog.get(name) for name in pipeline.inputs()}
    values = {
        name: catalog.load(name)
        for name, dataset in datasets.items()
        if isinstance(dataset, MemoryDataset)
    }
    return {name: value.reason for name, value in values.items() if isinstance(value, Skipped)}
