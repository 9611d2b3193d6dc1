"""How much memory this process held at most, piece of work by piece of work."""

import os
import resource
import sys
import threading
from pathlib import Path
from typing import Final, NamedTuple

SAMPLES_PER_SECOND: Final = 20

_STATM: Final = Path("/proc/self/statm")
_UNIT: Final = 1 if sys.platform == "darwin" else 1024


class Peak(NamedTuple):
    """Of one piece of work.

    Attributes:
        own: most bytes that this process held.
        child: most bytes that a process held that this one started and that has ended; nothing unless
            none before it held as many.
    """

    own: int
    child: int | None


class PeakMemorySampler:
    """Looks at the memory of this process while it lasts.

    The kernel knows the peak of all that a process has done: where that rose, it is the peak of what was
    done since. Where it did not, what a thread saw is taken, which may miss what lasted milliseconds.
    Setting the kernel's own mark back would be exact, but whoever started this process reads that mark.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._mark, self._child_mark = _mark(resource.RUSAGE_SELF), _mark(resource.RUSAGE_CHILDREN)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="peak-memory")
        self._thread.start()

    def lap(self) -> Peak:
        """Give the peak since this was last asked."""
        mark, child_mark = _mark(resource.RUSAGE_SELF), _mark(resource.RUSAGE_CHILDREN)
        own = mark if mark > self._mark or not _STATM.exists() else max(self._seen, _held())
        child = child_mark if child_mark > self._child_mark else None
        self._seen, self._mark, self._child_mark = 0, mark, child_mark
        return Peak(own, child)

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(1 / SAMPLES_PER_SECOND):
            self._seen = max(self._seen, _held())


def _held() -> int:
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _mark(whose: int) -> int:
    return resource.getrusage(whose).ru_maxrss * _UNIT
