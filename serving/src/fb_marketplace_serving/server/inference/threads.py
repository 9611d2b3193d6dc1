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

Result = TypeVar("Result")

SEARCH_NICENESS: Final = 1
PHOTO_NICENESS: Final = 2
"""Niceness of the threads of each kind of work. The event loop has 0: it must wake at once to accept and
reject requests, even if every core is busy."""

RELEASE_NICENESS: Final = 5
"""Niceness of opening releases: they give way to requests, except to floods."""

BACKGROUND_NICENESS: Final = 15
"""Niceness of large photos, and of a kind of work that takes much of the cores. On a busy core, other kinds
get 95 %: a flood of one kind hardly delays the others."""

MAX_PROMPT_USAGE: Final = 0.25
"""Share of the cores that a kind of work may take before its threads have ``BACKGROUND_NICENESS``."""

_USAGE_SECONDS: Final = 1.0
"""Time over which that share is measured."""

_ACTIVE_SECONDS: Final = 1e-5
"""CPU time, left of a search of some milliseconds after six seconds."""


_M_MMAP_THRESHOLD: Final = -3
"""``mallopt`` parameter: smallest block that is allocated, and returned, by itself."""

_M_TRIM_THRESHOLD: Final = -1
"""``mallopt`` parameter: free bytes at the end of a heap above which they are returned."""

_M_ARENA_MAX: Final = -8
"""``mallopt`` parameter: maximum number of heaps that threads allocate in. By default it is eight per core,
and each keeps what its blocks in use do not let it return: at 1,000,000 listings, some 100 MB."""

_TRIM_BYTES: Final = 2 * 1024 * 1024
"""Free bytes that a heap keeps. By default it is 128 kB: arrays of a photo would be mapped each time."""

_PIXEL_BLOCK: Final = 4 * 1024 * 1024
"""Bytes. Pillow allocates pixels in blocks of 16 MB; smaller photos and arrays stay in the heap."""


def make_thread_pool(count: int, name: str, niceness: int) -> ThreadPoolExecutor:
    """Return a pool of low-priority threads. Only Linux supports priorities per thread."""
    return ThreadPoolExecutor(
        count, thread_name_prefix=name, initializer=_lower_priority, initargs=(niceness,)
    )


class FairThreadPool(Executor):
    """Threads for one kind of work. A flood of it gets a low priority while there is other work.

    A kind of work is a flood while it takes much of the cores. A flood of photos leaves the cores to
    searches, and a flood of searches leaves them to photos. Two floods share them.

    Only root may raise the priority of a thread, so the pool has threads of either priority. When a flood
    changes its priority, its running calls continue: for a moment, twice ``count`` threads may be busy.

    Attributes:
        rivals: functions that return whether there is work of another kind.
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
        self.rivals: list[Callable[[], bool]] = []
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds, self._counted_at = 0.0, clock()
        self._unfinished = 0

    def is_active(self) -> bool:
        """Return whether there is work, or was in the last seconds."""
        return self._unfinished > 0 or self._recent_seconds() > _ACTIVE_SECONDS

    def submit(
        self, function: Callable[..., Result], /, *args: Any, **kwargs: Any
    ) -> Future[Result]:
        """Run a function on a thread."""
        is_flood = self._recent_seconds() > self._max_seconds
        is_delaying = is_flood and any(is_active() for is_active in self.rivals)
        pool = self._background if is_delaying else self._prompt
        with self._lock:
            self._unfinished += 1
        try:
            future = pool.submit(self._run, function, *args, **kwargs)
        except RuntimeError:  # The pool is shut down.
            self._finish()
            raise
        future.add_done_callback(self._finish)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the threads."""
        for pool in (self._prompt, self._background):
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _run(self, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        started = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            self._add_seconds(time.thread_time() - started)

    def _finish(self, _: object = None) -> None:
        with self._lock:
            self._unfinished -= 1

    def _recent_seconds(self) -> float:
        """Return the CPU time of the last seconds: that of older calls decays."""
        with self._lock:
            return self._decay(self._clock())

    def _add_seconds(self, seconds: float) -> None:
        with self._lock:
            now = self._clock()
            self._seconds, self._counted_at = self._decay(now) + seconds, now

    def _decay(self, now: float) -> float:
        return self._seconds * math.exp((self._counted_at - now) / _USAGE_SECONDS)


_GARBAGE_THRESHOLD: Final = 50_000
"""New objects after which garbage is collected. A thousand connections have 30,000 objects, and a thousand
requests 100,000. With Python's threshold, 700, a flood would have all of them visited many times a second,
for 15 to 50 ms each."""


def return_freed_memory() -> None:
    """Return freed memory, such as the pixels of large photos, to the system; no effect without glibc.

    By default glibc keeps blocks of up to 32 MB once one was freed: after a few large photos a server would
    hold hundreds of megabytes forever.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, _PIXEL_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
        mallopt(_M_ARENA_MAX, max(2, os.cpu_count() or 1))


def return_freed_columns() -> None:
    """Let Arrow return its memory when it is freed. Its own allocator keeps some for a while."""
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())


def collect_garbage() -> None:
    """Collect garbage, and exclude the remaining objects from all later collections.

    Most of them are modules and the words of the release. A collection that visits them stops all threads
    for a tenth of a second. Excluded objects are still freed by reference counting, unless they refer to
    each other in a cycle. A release has no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD, 10, 10)


def _lower_priority(niceness: int) -> None:
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # Only root may raise a priority: a process that was started with `nice` keeps its own.
        os.setpriority(
            os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread))
        )
