"""Report of a run: inputs, outputs, reused work, duration and memory of each node."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fb_marketplace.observability.memory import PeakMemory, PeakMemorySampler
from fb_marketplace.observability.progress import ProgressCount, collect_counts
from fb_marketplace.storage.file_handles import ContentAddressedFile
from fb_marketplace.storage.keyed_table import KeepOnly, Table

MIN_SECONDS: Final = 1.0
"""Nodes that take less time are not logged, unless they failed."""

MAX_LINES: Final = 12

_NO_MEMORY: Final = PeakMemory(0, None)


@dataclass
class NodeReport:
    """Report of a node.

    Attributes:
        name: name of the node, without its stage.
        inputs: amount of data in each input dataset, see :func:`count_data`.
        outputs: amount of data in each output dataset: new ``rows`` or ``bytes``, and rows that were
            ``reused`` from an earlier run or ``removed``.
        work: computed and reused units of each :class:`Progress`.
        seconds: time from its first load to the start of the next node.
        peak: peak memory.
        failed: whether the run ended in this node.
    """

    name: str
    inputs: dict[str, dict[str, int]] = field(default_factory=dict)
    outputs: dict[str, Counter[str]] = field(default_factory=dict)
    work: list[ProgressCount] = field(default_factory=list)
    seconds: float = 0.0
    peak: PeakMemory = _NO_MEMORY
    failed: bool = False

    @property
    def state(self) -> str:
        """``computed``, ``reused`` if nothing was computed, or ``failed``."""
        if self.failed:
            return "failed"
        outputs = self.outputs.values()
        computed = sum(count.computed for count in self.work)
        computed += sum(counts["rows"] for counts in outputs if "reused" in counts)
        reused = sum(count.reused for count in self.work)
        reused += sum(counts["reused"] for counts in outputs)
        return "reused" if reused and not computed else "computed"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        report: dict[str, Any] = {
            "node": self.name,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            "peak_memory_mb": round(self.peak.own / 1e6, 1),
        }
        if self.peak.child is not None:
            report["largest_child_mb"] = round(self.peak.child / 1e6, 1)
        report["inputs"] = self.inputs
        report["outputs"] = {name: dict(counts) for name, counts in self.outputs.items()}
        if self.work:
            report["work"] = [count._asdict() for count in self.work]
        return report

    def line(self) -> str:
        """Return the report as a line of text."""
        work = [
            f"{count.task}: {_format_counts(count.computed, count.reused)}" for count in self.work
        ]
        work = work or [
            f"{name}: {_format_counts(counts['rows'], counts['reused'])}"
            for name, counts in self.outputs.items()
            if "reused" in counts
        ]
        amounts = "; ".join(dict.fromkeys(work))
        memory = f"{self.peak.own / 1e6:8,.0f} MB"
        return f"{self.name:30} {self.seconds:8.1f} s {memory}  {self.state:8}  {amounts}".rstrip()


class RunReport:
    """Report of a run. Hooks build it while the nodes run one after the other."""

    def __init__(self) -> None:
        self.nodes: list[NodeReport] = []
        self._started = self._node_started = time.monotonic()
        self._memory = PeakMemorySampler()
        self._is_open = False
        collect_counts()

    def start_node(self, name: str) -> None:
        """Start a node, which ends the previous node. Does nothing if the node has already started."""
        if self._is_open and self.nodes[-1].name == name:
            return
        self._close_node()
        self.nodes.append(NodeReport(name))
        self._is_open, self._node_started = True, time.monotonic()

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
        self._close_node()
        self._memory.close()

    def to_dict(self, all_nodes: Iterable[str], metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return the report as JSON values.

        Args:
            all_nodes: names of all nodes of the run.
            metadata: further values to include.
        """
        reached = {node.name for node in self.nodes}
        return {
            **metadata,
            "seconds": round(time.monotonic() - self._started, 3),
            "peak_memory_mb": round(self.peak / 1e6, 1),
            "nodes": [node.to_dict() for node in self.nodes],
            "skipped": [name for name in all_nodes if name not in reached],
        }

    @property
    def peak(self) -> int:
        """Peak memory of the process, in bytes."""
        return max((node.peak.own for node in self.nodes), default=0)

    def lines(self) -> list[str]:
        """Return the report as lines of text, with the slowest nodes in the order of the run."""
        slow = [node for node in self.nodes if node.seconds >= MIN_SECONDS or node.failed]
        slowest = sorted(slow, key=lambda node: (node.failed, node.seconds))[-MAX_LINES:]
        reused = sum(node.state == "reused" for node in self.nodes)
        return [
            f"{len(self.nodes)} nodes in {time.monotonic() - self._started:,.1f} s, peak memory "
            f"{self.peak / 1e6:,.0f} MB; {reused} reused all results. Slowest nodes:",
            *(node.line() for node in self.nodes if any(node is other for other in slowest)),
        ]

    def _close_node(self) -> None:
        if not self._is_open:
            return
        node = self.nodes[-1]
        node.seconds = time.monotonic() - self._node_started
        node.peak = self._memory.lap()
        node.work = collect_counts()
        self._is_open = False


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
    if isinstance(data, frozenset):
        return {"keys": len(data)}
    rows = getattr(data, "num_rows", None)
    if rows is None and hasattr(data, "columns") and hasattr(data, "iloc"):
        rows = len(data)
    return {} if rows is None else {"rows": int(rows)}


def _format_counts(computed: int, reused: int) -> str:
    return f"{computed:,} computed, {reused:,} reused" if reused else f"{computed:,} computed"
