"""A lock for threads that search, so that they do not compete for Python's interpreter lock.

A search makes dozens of calls that release the interpreter's lock for microseconds. If another thread waits
for that lock, each release wakes it, mostly in vain: two searches at once took twice the CPU time of one
after the other. So one search at a time runs Python. The others wait here, or run native code that takes
long enough to be worth it: reads of Lance tables, the encoding of a text and, in a large market, the first
comparison of a query's vectors with those of listings and photos.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

MAX_WAIT: Final = 0.05
"""Seconds for which a search has the lock to itself. Then others continue without it: a slow one must not
stop them."""


class InterpreterLock:
    """A lock that a thread holds while it runs Python. Thread-safe.

    A thread waits until another has had the lock for ``max_wait`` seconds, however many others wait.
    So :meth:`hold`, :meth:`acquire`, and the end of :meth:`released`, take at most that time.
    """

    def __init__(self, max_wait: float = MAX_WAIT) -> None:
        """Create a free lock.

        Args:
            max_wait: seconds after which others no longer wait for a thread with the lock.
        """
        self._lock = threading.Lock()
        self._max_wait = max_wait
        self._since = monotonic()
        self._thread = threading.local()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock, except after :meth:`release` and in :meth:`released`.

        Raises:
            RuntimeError: this thread is already in this method.
        """
        if getattr(self._thread, "is_inside", False):
            raise RuntimeError(
                "found hold() inside of hold(); expected it once per thread: remove the inner one"
            )
        self._thread.is_inside = True
        self._acquire()
        try:
            yield
        finally:
            self._release()
            self._thread.is_inside = False

    def release(self) -> None:
        """Release the lock, if this thread has it, until :meth:`acquire` or the end of :meth:`hold`."""
        if getattr(self._thread, "has_lock", False):
            self._release()

    def acquire(self) -> None:
        """Acquire the lock again, if this thread is in :meth:`hold` and does not have it."""
        if getattr(self._thread, "is_inside", False) and not self._thread.has_lock:
            self._acquire()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Release the lock for native code, if this thread has it, and acquire it again."""
        if not getattr(self._thread, "has_lock", False):
            yield
            return
        self._release()
        try:
            yield
        finally:
            self._acquire()

    def _acquire(self) -> None:
        timeout = max(0.0, self._since + self._max_wait - monotonic())
        self._thread.has_lock = self._lock.acquire(timeout=timeout)
        if self._thread.has_lock:
            self._since = monotonic()

    def _release(self) -> None:
        if self._thread.has_lock:
            self._thread.has_lock = False
            # Another thread may have the lock some time before it sets this.
            self._since = monotonic()
            self._lock.release()


INTERPRETER: Final = InterpreterLock()
"""The lock of this process."""
