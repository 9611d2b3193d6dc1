"""A lock for threads that search, so that they do not compete for Python's interpreter lock.

A search makes dozens of calls that release the interpreter's lock for microseconds. If another thread waits
for that lock, each release wakes it, mostly in vain: two searches at once took twice the CPU time of one
after the other. So one search at a time runs Python. The others wait here, or run native code that takes
long enough to be worth it: in a large market, the text encoder and the comparison of vectors.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MAX_WAIT: Final = 0.05
"""Seconds after which a search continues without the lock: a slow one must not stop all others."""


class InterpreterLock:
    """A lock that a thread holds while it runs Python. Thread-safe."""

    def __init__(self, max_wait: float = MAX_WAIT) -> None:
        """Create a free lock.

        Args:
            max_wait: maximum seconds to wait for it.
        """
        self._lock = threading.Lock()
        self._max_wait = max_wait
        self._thread = threading.local()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock, except between :meth:`release` and :meth:`acquire`. Not reentrant."""
        self._thread.has_lock = self._lock.acquire(timeout=self._max_wait)
        self._thread.has_released = False
        try:
            yield
        finally:
            self.release()
            self._thread.has_released = False

    def release(self) -> None:
        """Release the lock for native code, if this thread holds it."""
        if getattr(self._thread, "has_lock", False):
            self._thread.has_lock, self._thread.has_released = False, True
            self._lock.release()

    def acquire(self) -> None:
        """Hold the lock again, if this thread has released it."""
        if getattr(self._thread, "has_released", False):
            self._thread.has_lock = self._lock.acquire(timeout=self._max_wait)
            self._thread.has_released = False


INTERPRETER: Final = InterpreterLock()
"""The lock of this process."""
