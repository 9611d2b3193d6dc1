"""Thread pools with lower priority than the event loop, and the memory that they free."""

import ctypes
import gc
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from fb_marketplace_serving.storage.private_file import release_pages

Result = TypeVar("Result")

SEARCH_NICENESS: Final = 1
PHOTO_NICENESS: Final = 2
"""Niceness of the threads of each kind of work. The event loop has 0: it must wake at once to accept and
reject requests, even if every core is busy."""

BACKGROUND_NICENESS: Final = 15
"""Niceness of large photos and of opening releases, and of a kind of work that takes much of the cores. On
a busy core, other kinds get 95 %: a flood of one kind hardly delays the others."""

MAX_PROMPT_USAGE: Final = 0.25
"""Share of the cores that a kind of work may take before its threads have ``BACKGROUND_NICENESS``."""

_USAGE_SECONDS: Final = 1.0
"""Time over which that share is measured."""

_ACTIVE_SECONDS: Final = 1e-5
"""CPU time, left of a search of some milliseconds after six seconds."""


_M_MMAP_THRESHOLD: Final = -3
"""``mallopt`` parameter: smallest block that is allocated, and returned, by itself."""

_PIXEL_BLOCK: Final = 4 * 1024 * 1024
"""Bytes. Pillow allocates pixels in blocks of 16 MB; smaller photos and arrays stay in the heap."""


def make_thread_pool(count: int, name: str, niceness: int) -> ThreadPoolExecutor:
    """Return a pool of low-priority threads. Only Linux supports priorities per thread."""
    return ThreadPoolExecutor(
        count, thread_name_prefix=name, initializer=_lower_priority, initargs=(niceness,)
    )


class FairThreadPool(Executor):
    """Threads for one kind of work, with a low priority while that kind delays others.

    That is, while it takes much of the cores, and there is work of another kind. A flood of photos then
    leaves the cores to searches, and a flood of searches leaves them to photos. Two floods share them. Only
    root may raise the priority of a thread: each priority has threads of its own.

    Attributes:
        rivals: pools for the other kinds.
    """

    def __init__(
        self, count: int, name: str, niceness: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create the pool. Threads start when they are needed.

        Args:
            count: number of threads of each priority.
            name: prefix of the names of the threads.
            niceness: niceness of the threads while the work takes little of the cores.
            clock: returns the time in seconds.
        """
        self._prompt = make_thread_pool(count, name, niceness)
        self._background = make_thread_pool(count, f"{name}-background", BACKGROUND_NICENESS)
        self._max_seconds = MAX_PROMPT_USAGE * _USAGE_SECONDS * count
        self.rivals: list[FairThreadPool] = []
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds, self._counted_at = 0.0, clock()

    @property
    def is_active(self) -> bool:
        """Whether there was work in the last seconds."""
        return self._count(0.0) > _ACTIVE_SECONDS

    def submit(
        self, function: Callable[..., Result], /, *args: Any, **kwargs: Any
    ) -> Future[Result]:
        """Run a function on a thread."""
        delays = self._count(0.0) > self._max_seconds and any(
            rival.is_active for rival in self.rivals
        )
        pool = self._background if delays else self._prompt
        return pool.submit(self._run, function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the threads."""
        for pool in (self._prompt, self._background):
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _run(self, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        started = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            self._count(time.thread_time() - started)

    def _count(self, seconds: float) -> float:
        """Add seconds of CPU time. Return the recent ones: older ones decay."""
        with self._lock:
            now = self._clock()
            self._seconds *= math.exp((self._counted_at - now) / _USAGE_SECONDS)
            self._seconds, self._counted_at = self._seconds + seconds, now
            return self._seconds


def return_freed_memory() -> None:
    """Return the pixels of large photos to the system when they are freed; no effect without glibc.

    By default glibc keeps blocks of up to 32 MB once one was freed: after a few large photos a server would
    hold hundreds of megabytes forever.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, _PIXEL_BLOCK)


def return_freed_columns() -> None:
    """Let Arrow return its memory when it is freed. Its own allocator keeps some for a while."""
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())


def collect_garbage() -> None:
    """Collect garbage, and leave the remaining objects out of all later collections.

    These are mostly modules and the words of the release. A collection of them holds the interpreter for a
    tenth of a second. Nothing but cycles of these objects would stay in memory: a release has none.
    """
    gc.collect()
    gc.freeze()


def trim_memory() -> None:
    """Return memory to the system that was needed only to open a release."""
    release_pages()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _lower_priority(niceness: int) -> None:
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # Only root may raise a priority: a process that was started with `nice` keeps its own.
        os.setpriority(
            os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread))
        )
