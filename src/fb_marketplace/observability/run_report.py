"""What each node of a run read, made, reused and skipped, how long it took and how much memory."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fb_marketplace.observability.memory import Peak, PeakMemorySampler
from fb_marketplace.observability.progress import ProgressCount, collect_counts
from fb_marketplace.storage.file_handles import ContentAddressedFile
from fb_marketplace.storage.keyed_table import KeepOnly, Table

LONG_SECONDS: Final = 1.0
"""A node that took less is not among the lines for people."""

MAX_LINES: Final = 12

NO_COUNTS: Final = Peak(0, None)


@dataclass
class NodeReport:
    """What became of a node.

    Attributes:
        name: of the node, without its stage.
        read: datasets, and how much of each.
        made: datasets, and how much of each: ``rows`` or ``bytes`` that were made, rows that were
            ``reused`` from what an earlier run left, and that were ``removed``.
        work: long work, and how much of it was made and reused.
        seconds: from the first reading to the last writing.
        peak: memory.
        failed: whether the run ended in it.
    """

    name: str
    read: dict[str, dict[str, int]] = field(default_factory=dict)
    made: dict[str, Counter[str]] = field(default_factory=dict)
    work: list[ProgressCount] = field(default_factory=list)
    seconds: float = 0.0
    peak: Peak = NO_COUNTS
    failed: bool = False

    @property
    def state(self) -> str:
        """Whether its work was ``made``, all ``reused``, or ``failed``."""
        if self.failed:
            return "failed"
        made = sum(each.made for each in self.work) + sum(
            counts["rows"] for counts in self.made.values() if "reused" in counts
        )
        reused = sum(each.reused for each in self.work) + sum(
            counts["reused"] for counts in self.made.values()
        )
        return "reused" if reused and not made else "made"

    def plain(self) -> dict[str, Any]:
        """Give it for JSON."""
        told: dict[str, Any] = {
            "node": self.name,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            "peak_memory_mb": round(self.peak.own / 1e6, 1),
        }
        if self.peak.child is not None:
            told["largest_child_mb"] = round(self.peak.child / 1e6, 1)
        told |= {"read": self.read, "made": {name: dict(each) for name, each in self.made.items()}}
        if self.work:
            told["work"] = [each._asdict() for each in self.work]
        return told

    def line(self) -> str:
        """Give it for people."""
        parts = [f"{each.what}: {_made_and_reused(each.made, each.reused)}" for each in self.work]
        parts = parts or [
            f"{name}: {_made_and_reused(counts['rows'], counts['reused'])}"
            for name, counts in self.made.items()
            if "reused" in counts
        ]
        did = "; ".join(dict.fromkeys(parts))
        memory = f"{self.peak.own / 1e6:8,.0f} MB"
        return f"{self.name:30} {self.seconds:8.1f} s {memory}  {self.state:6}  {did}".rstrip()


class RunReport:
    """Gathers what nodes do, one after the other, as the runner tells of it."""

    def __init__(self) -> None:
        self.nodes: list[NodeReport] = []
        self._started = self._since = time.monotonic()
        self._memory = PeakMemorySampler()
        self._open = False
        collect_counts()

    def at(self, name: str) -> None:
        """Note that this node is worked on: the one before it has ended."""
        if self._open and self.nodes[-1].name == name:
            return
        self._close_node()
        self.nodes.append(NodeReport(name))
        self._open, self._since = True, time.monotonic()

    def read(self, dataset: str, data: Any) -> None:
        """Note what the node at work reads."""
        self.nodes[-1].read[dataset] = format_amount(data)

    def made(self, dataset: str, data: Any) -> None:
        """Note what the node at work has saved; of a table, batch by batch."""
        self.nodes[-1].made.setdefault(dataset, Counter()).update(format_amount(data))

    def end(self, failed: bool = False) -> None:
        """Note that the run has ended."""
        if failed and self._open:
            self.nodes[-1].failed = True
        self._close_node()
        self._memory.close()

    def plain(self, all_nodes: Iterable[str], about: Mapping[str, Any]) -> dict[str, Any]:
        """Give it for JSON.

        Args:
            all_nodes: names of the nodes that the run was to run.
            about: what else is known of the run.
        """
        reached = {node.name for node in self.nodes}
        return {
            **about,
            "seconds": round(time.monotonic() - self._started, 3),
            "peak_memory_mb": round(self.peak / 1e6, 1),
            "nodes": [node.plain() for node in self.nodes],
            "skipped": [name for name in all_nodes if name not in reached],
        }

    @property
    def peak(self) -> int:
        """Most bytes that the process held."""
        return max((node.peak.own for node in self.nodes), default=0)

    def lines(self) -> list[str]:
        """Give the run, and the nodes that took long in their order, for people."""
        long = [node for node in self.nodes if node.seconds >= LONG_SECONDS or node.failed]
        shown = sorted(long, key=lambda node: (node.failed, node.seconds))[-MAX_LINES:]
        reused = sum(node.state == "reused" for node in self.nodes)
        return [
            f"{len(self.nodes)} nodes in {time.monotonic() - self._started:,.1f} s, at most "
            f"{self.peak / 1e6:,.0f} MB; {reused} had nothing to make anew. Those that took long:",
            *(node.line() for node in self.nodes if any(node is each for each in shown)),
        ]

    def _close_node(self) -> None:
        if not self._open:
            return
        node = self.nodes[-1]
        node.seconds = time.monotonic() - self._since
        node.peak = self._memory.lap()
        node.work = collect_counts()
        self._open = False


def format_amount(data: Any) -> dict[str, int]:
    """Say how much there is of what was read or made, as far as it can be told at once."""
    if isinstance(data, KeepOnly):
        return {"reused": len(data.keys & data.held), "removed": len(data.held - data.keys)}
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


def _made_and_reused(made: int, reused: int) -> str:
    return f"{made:,} made, {reused:,} reused" if reused else f"{made:,} made"
