"""Peak memory of this process per piece of work."""

import resource
import sys
import threading
from typing import Final, NamedTuple

import psutil

SAMPLES_PER_SECOND: Final = 20

_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


class PeakMemory(NamedTuple):
    """Peak memory of a piece of work.

    Attributes:
        own: peak of this process, in bytes.
        child: largest peak of an ended child process, in bytes; None unless it is a new maximum.
    """

    own: int
    child: int | None


class PeakMemorySampler:
    """Measures the peak memory of this process.

    The kernel keeps the peak since the process started. If it has risen, it is the peak of the current
    work. Otherwise the maximum of samples is used, which may miss a peak of a few milliseconds. Resetting
    the kernel's peak would be exact, but a parent process may read it.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._sampled = 0
        self._peak = _max_rss(resource.RUSAGE_SELF)
        self._child_peak = _max_rss(resource.RUSAGE_CHILDREN)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True, name="peak-memory")
        self._thread.start()

    def lap(self) -> PeakMemory:
        """Return the peak since the previous call."""
        peak, child_peak = _max_rss(resource.RUSAGE_SELF), _max_rss(resource.RUSAGE_CHILDREN)
        own = peak if peak > self._peak else max(self._sampled, self._rss())
        child = child_peak if child_peak > self._child_peak else None
        self._sampled, self._peak, self._child_peak = 0, peak, child_peak
        return PeakMemory(own, child)

    def close(self) -> None:
        """Stop sampling."""
        self._closed.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._closed.wait(1 / SAMPLES_PER_SECOND):
            self._sampled = max(self._sampled, self._rss())

    def _rss(self) -> int:
        return int(self._process.memory_info().rss)


def _max_rss(who: int) -> int:
    return resource.getrusage(who).ru_maxrss * _MAXRSS_UNIT
