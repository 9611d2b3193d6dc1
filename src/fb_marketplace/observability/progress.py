"""How far long work has come: a bar on a terminal, plain lines in a log."""

import logging
import sys
import time
from collections import deque
from typing import Final, NamedTuple, Self

LOG_INTERVAL_S: Final = 15.0
"""Seconds between two lines in a log."""

logger = logging.getLogger(__name__)


class ProgressCount(NamedTuple):
    """How much of some long work was done, and how much of it an earlier run had done."""

    what: str
    made: int
    reused: int


class Progress:
    """Counts what is done out of a total, and says so with rate and time left."""

    def __init__(self, what: str, total: int, already: int = 0) -> None:
        """Begin.

        Args:
            what: what is counted, such as ``photos read``.
            total: how many there are in all.
            already: how many of them an earlier run has done.
        """
        self._what, self._total, self._done, self._already = what, total, already, already
        self._started = self._said = time.monotonic()
        self._note = ""
        self._bar = None
        _begun.append(self)
        if sys.stderr.isatty() and total > already:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=already, desc=what, unit="", smoothing=0.1)

    def __enter__(self) -> Self:
        """Say what an earlier run has done."""
        if self._already:
            logger.info("%s: %d of %d were done before", self._what, self._already, self._total)
        return self

    def __exit__(self, *_: object) -> None:
        """Say how it ended."""
        if self._bar is not None:
            self._bar.close()
        elif self._done > self._already:
            self._say()

    def advance(self, count: int, note: str = "") -> None:
        """Count more as done; a note, such as the loss, is said beside."""
        self._done += count
        self._note = note
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._said > LOG_INTERVAL_S:
            self._say()

    @property
    def tally(self) -> ProgressCount:
        """What is done by now."""
        return ProgressCount(self._what, self._done - self._already, self._already)

    def _say(self) -> None:
        self._said = time.monotonic()
        rate = (self._done - self._already) / max(self._said - self._started, 1e-9)
        left = (self._total - self._done) / rate if rate else 0.0
        logger.info(
            "%s: %d of %d, %.0f a second, %.0f s left%s",
            self._what,
            self._done,
            self._total,
            rate,
            left,
            f"; {self._note}" if self._note else "",
        )


_begun: Final[deque[Progress]] = deque(maxlen=1000)


def collect_counts() -> list[ProgressCount]:
    """Give what was begun in this process since this was last asked, and how far it has come."""
    found = []
    while _begun:
        found.append(_begun.popleft().tally)
    return found
