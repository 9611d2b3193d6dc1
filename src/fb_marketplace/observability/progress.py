"""Progress of long work: a bar on a terminal, lines in a log."""

import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, NamedTuple, Self

LOG_INTERVAL_S: Final = 15.0
"""Seconds between two lines in a log."""

logger = logging.getLogger(__name__)


class ProgressCount(NamedTuple):
    """Units of work that were computed, and that were reused from an earlier run."""

    task: str
    computed: int
    reused: int


class Progress:
    """Counter of completed work, with rate and remaining time.

    Attributes:
        run_seconds_left: estimates the remaining seconds of the run; None outside a run.
        is_hidden: whether new counters are neither shown nor reported; see :func:`hide_progress`.
    """

    run_seconds_left: ClassVar[Callable[[], float | None] | None] = None
    is_hidden: ClassVar[bool] = False

    def __init__(self, task: str, total: int, already: int = 0) -> None:
        """Start counting.

        Args:
            task: name of the work, such as ``photos read``.
            total: number of units of work.
            already: number of units that an earlier run has completed.
        """
        self._task, self._total, self._done, self._already = task, total, already, already
        self._started = self._logged = time.monotonic()
        self._note = ""
        self._bar = None
        self._is_hidden = Progress.is_hidden
        if self._is_hidden:
            return
        _unreported.append(self)
        if sys.stderr.isatty() and total > already:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=already, desc=task, unit="", smoothing=0.1)

    def __enter__(self) -> Self:
        """Return the counter."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int, note: str = "", reused: bool = False) -> None:
        """Add completed units.

        Args:
            count: number of units.
            note: a text to show, such as the loss.
            reused: whether an earlier run has completed them.
        """
        self._done += count
        self._already += count * reused
        self._note = note
        if self._bar is not None:
            self._bar.set_postfix_str(f"{note}{self._run_left()}", refresh=False)
            self._bar.update(count)
        elif not self._is_hidden and time.monotonic() - self._logged > LOG_INTERVAL_S:
            self._log()

    @property
    def tally(self) -> ProgressCount:
        """Units completed so far."""
        return ProgressCount(self._task, self._done - self._already, self._already)

    def _log(self) -> None:
        self._logged = time.monotonic()
        rate = (self._done - self._already) / max(self._logged - self._started, 1e-9)
        left = (self._total - self._done) / rate if rate else 0.0
        logger.info(
            "%s: %d of %d, %s per second, %.0f s left%s%s",
            self._task,
            self._done,
            self._total,
            f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}",
            left,
            f"; {self._note}" if self._note else "",
            self._run_left(),
        )

    def _run_left(self) -> str:
        seconds = Progress.run_seconds_left() if Progress.run_seconds_left else None
        return "" if seconds is None else f"; {seconds:.0f} s left of the run"


_unreported: Final[deque[Progress]] = deque(maxlen=1000)


def collect_counts() -> list[ProgressCount]:
    """Return the counts of all work that started in this process since the previous call."""
    counts = []
    while _unreported:
        counts.append(_unreported.popleft().tally)
    return counts


@contextlib.contextmanager
def hide_progress() -> Iterator[None]:
    """Hide counters that start within the context: they are parts of work that is counted itself."""
    before, Progress.is_hidden = Progress.is_hidden, True
    try:
        yield
    finally:
        Progress.is_hidden = before
