"""Report of a run: inputs, outputs, reused work, duration and memory of each node."""

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fb_marketplace.observability.memory import PeakMemory, PeakMemorySampler
from fb_marketplace.observability.progress import Progress, ProgressCount, collect_counts
from fb_marketplace.storage.file_handles import ContentAddressedFile
from fb_marketplace.storage.keyed_table import KeepOnly, Table
from fb_marketplace.storage.keys import Keys
from fb_marketplace_serving.storage.private_file import trim_memory

MAX_CHANGES: Final = 3
"""Number of changed inputs that a line of the log names."""

logger = logging.getLogger(__name__)

_NO_MEMORY: Final = PeakMemory(0, None)


@dataclass
class NodeReport:
    """Report of a node.

    Attributes:
        name: name of the node, with its stage.
        changes: reasons why it was computed, such as names of changed inputs; empty if unknown.
        inputs: amount of data in each input dataset, see :func:`count_data`.
        outputs: amount of data in each output dataset: new ``rows`` or ``bytes``, and rows that were
            ``reused`` from an earlier run or ``removed``.
        work: computed and reused units of each :class:`Progress`.
        seconds: time from its first load to the start of the next node.
        cpu_seconds: processor time of all threads and of the processes that ended.
        peak: peak memory.
        failed: whether the run ended in this node.
        skipped: whether the outputs of an earlier run were reused without executing the node.
        reason: why the node was skipped, if it cannot create its outputs; empty if it can.
        retained: why a model was not trained again although its data has changed; empty if it was.
    """

    name: str
    changes: list[str] = field(default_factory=list)
    inputs: dict[str, dict[str, int]] = field(default_factory=dict)
    outputs: dict[str, Counter[str]] = field(default_factory=dict)
    work: list[ProgressCount] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak: PeakMemory = _NO_MEMORY
    failed: bool = False
    skipped: bool = False
    reason: str = ""
    retained: str = ""

    @property
    def short_name(self) -> str:
        """Name of the node without its stage."""
        return self.name.rpartition(".")[2]

    @property
    def state(self) -> str:
        """``computed``, ``reused`` if nothing was computed, ``skipped`` or ``failed``."""
        if self.failed:
            return "failed"
        if self.reason:
            return "skipped"
        if self.skipped:
            return "reused"
        outputs = self.outputs.values()
        computed = sum(count.computed for count in self.work)
        computed += sum(counts["rows"] for counts in outputs if "reused" in counts)
        reused = sum(count.reused for count in self.work)
        reused += sum(counts["reused"] for counts in outputs)
        return "reused" if reused and not computed else "computed"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        report: dict[str, Any] = {
            "node": self.short_name,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "peak_memory_mb": round(self.peak.own / 1e6, 1),
        }
        if self.changes:
            report["changes"] = self.changes
        if self.reason:
            report["reason"] = self.reason
        if self.retained:
            report["retained"] = self.retained
        if self.peak.child is not None:
            report["largest_child_mb"] = round(self.peak.child / 1e6, 1)
        report["inputs"] = self.inputs
        report["outputs"] = {name: dict(counts) for name, counts in self.outputs.items()}
        if self.work:
            report["work"] = [count._asdict() for count in self.work]
        return report

    def line(self) -> str:
        """Return the report as a line of text."""
        if self.reason:
            return f"{self.short_name:28} skipped: {self.reason}"
        if self.retained:
            return f"{self.short_name:28} kept: {self.retained}"
        work = [
            f"{count.task}: {_format_counts(count.computed, count.reused)}" for count in self.work
        ]
        work = work or [
            f"{name}: {_format_counts(counts['rows'], counts['reused'])}"
            for name, counts in self.outputs.items()
            if "reused" in counts
        ]
        if self.changes and self.changes != ["first run"]:
            more = len(self.changes) - MAX_CHANGES
            names = ", ".join(self.changes[:MAX_CHANGES]) + (
                f" and {more} more" if more > 0 else ""
            )
            work.insert(0, f"changed: {names}")
        if self.failed:
            work.insert(0, "failed")
        return (
            f"{self.short_name:28} {self.seconds:7.1f} s  {'; '.join(dict.fromkeys(work))}".rstrip()
        )


class RunReport:
    """Report of a run. Hooks and the runner build it while the nodes run one after the other.

    A line is logged at the end of each node. Nodes that are reused one after the other share a line.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Start the report.

        Args:
            names: names of all nodes of the run, with their stages, in their order.
        """
        self.nodes: list[NodeReport] = []
        self.expected: Mapping[str, float] = {}
        self._positions = {name: position for position, name in enumerate(names, start=1)}
        self._started = self._node_started = time.monotonic()
        self._node_started_cpu = _cpu_seconds()
        self._memory = PeakMemorySampler()
        self._is_open = False
        self._reused: list[str] = []
        Progress.run_seconds_left = self.seconds_left
        collect_counts()

    def start_node(self, name: str, changes: Sequence[str] = ()) -> None:
        """Start a node, which ends the previous node. Does nothing if the node has already started."""
        if self._is_open and self.nodes[-1].name == name:
            return
        self.end_node()
        self.nodes.append(NodeReport(name, list(changes)))
        self._is_open, self._node_started = True, time.monotonic()
        self._node_started_cpu = _cpu_seconds()

    def reuse_node(self, name: str) -> None:
        """Add a node whose outputs are reused."""
        self.end_node()
        self.nodes.append(NodeReport(name, skipped=True))
        self._reused.append(name)

    def keep_node(self, name: str, reason: str) -> None:
        """Add a node whose model is kept although its data has changed."""
        self.end_node()
        self._log_reused()
        node = NodeReport(name, skipped=True, retained=reason)
        self.nodes.append(node)
        logger.info("[%s] %s", self._position(name), node.line())

    def skip_node(self, name: str, reason: str) -> None:
        """End a node that cannot create its outputs."""
        self.start_node(name)
        self.nodes[-1].reason = reason
        self.end_node()

    def end_node(self) -> None:
        """End the current node, if there is one."""
        if not self._is_open:
            return
        node = self.nodes[-1]
        node.seconds = time.monotonic() - self._node_started
        node.cpu_seconds = _cpu_seconds() - self._node_started_cpu
        node.peak = self._memory.lap()
        node.work = collect_counts()
        self._is_open = False
        trim_memory()  # Allocators keep freed memory, often a gigabyte.
        self._log_reused()
        logger.info("[%s] %s", self._position(node.name), node.line())

    def seconds_left(self) -> float | None:
        """Estimate of the remaining seconds, from the previous durations; None if some are unknown."""
        done = {node.name for node in self.nodes}
        names = [name for name in self._positions if name not in done]
        if not self.expected or any(name not in self.expected for name in names):
            return None
        left = sum(self.expected[name] for name in names)
        if self._is_open:
            elapsed = time.monotonic() - self._node_started
            left += max(self.expected.get(self.nodes[-1].name, 0.0) - elapsed, 0.0)
        return left

    def add_input(self, dataset: str, data: Any) -> None:
        """Add an input of the current node."""
        self.nodes[-1].inputs[dataset] = count_data(data)

    def add_output(self, dataset: str, data: Any) -> None:
        """Add an output of the current node, or a batch of one."""
        self.nodes[-1].outputs.setdefault(dataset, Counter()).update(count_data(data))

    def end(self, failed: bool = False) -> None:
        """End the run."""
        if failed and self._is_open:
            self.nodes[-1].failed = True
        self.end_node()
        self._log_reused()
        Progress.run_seconds_left = None
        self._memory.close()

    def to_dict(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return the report as JSON values.

        Args:
            metadata: further values to include.
        """
        reached = {node.name for node in self.nodes}
        missing = [name for name in self._positions if name not in reached]
        return {
            **metadata,
            "seconds": round(time.monotonic() - self._started, 3),
            "peak_memory_mb": round(self.peak / 1e6, 1),
            "nodes": [node.to_dict() for node in self.nodes],
            "skipped": [name.rpartition(".")[2] for name in missing],
        }

    @property
    def peak(self) -> int:
        """Peak memory of the process, in bytes."""
        return max((node.peak.own for node in self.nodes), default=0)

    def summary(self) -> str:
        """Return the report in one sentence."""
        computed = sum(not (node.skipped or node.reason) for node in self.nodes)
        reused = sum(node.skipped for node in self.nodes)
        return (
            f"{computed} nodes computed and {reused} reused in {time.monotonic() - self._started:,.1f} s, "
            f"peak memory {self.peak / 1e6:,.0f} MB"
        )

    def _log_reused(self) -> None:
        names, self._reused = self._reused, []
        if not names:
            return
        first, last = self._position(names[0]), self._position(names[-1])
        if len(names) == 1:
            logger.info("[%s] %s reused", first, names[0].rpartition(".")[2])
        else:
            logger.info("[%s to %s] %d nodes reused", first.strip(), last.strip(), len(names))

    def _position(self, name: str) -> str:
        total = len(self._positions)
        return f"{self._positions.get(name, 0):{len(str(total))}}/{total}"


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def count_data(data: Any) -> dict[str, int]:
    """Return the amount of data in a dataset, by unit; empty if it is unknown or slow to count."""
    if isinstance(data, KeepOnly):
        reused, removed = data.keys & data.existing, data.existing - data.keys
        return {"reused": len(reused), "removed": len(removed)}
    if isinstance(data, Table):
        return {"rows": len(data)}
    if isinstance(data, ContentAddressedFile):
        return {"files": 1, "bytes": len(data.data)}
    if isinstance(data, bytes):
        return {"bytes": len(data)}
    if isinstance(data, Keys):
        return {"keys": len(data)}
    rows = getattr(data, "num_rows", None)
    if rows is None and hasattr(data, "columns") and hasattr(data, "iloc"):
        rows = len(data)
    return {} if rows is None else {"rows": int(rows)}


def _format_counts(computed: int, reused: int) -> str:
    return f"{computed:,} computed, {reused:,} reused" if reused else f"{computed:,} computed"
