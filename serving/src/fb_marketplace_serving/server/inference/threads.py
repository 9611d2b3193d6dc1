"""Thread pools with lower priority than the event loop, and the memory that they free."""

import ctypes
import gc
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from fb_marketplace_serving.storage.private_file import release_pages

SEARCH_NICENESS: Final = 4
PHOTO_NICENESS: Final = 5
LARGE_PHOTO_NICENESS: Final = 10
"""Niceness of the threads of each kind of work. The event loop has 0: it must wake at once to accept and
reject requests, even if every core is busy. The others share a busy core: a flood of photos leaves more
than half of it to searches, and a flood of searches two fifths to photos."""


_M_MMAP_THRESHOLD: Final = -3
"""``mallopt`` parameter: smallest block that is allocated, and returned, by itself."""

_PIXEL_BLOCK: Final = 4 * 1024 * 1024
"""Bytes. Pillow allocates pixels in blocks of 16 MB; smaller photos and arrays stay in the heap."""


def make_thread_pool(count: int, name: str, niceness: int) -> ThreadPoolExecutor:
    """Return a pool of low-priority threads. Only Linux supports priorities per thread."""
    return ThreadPoolExecutor(
        count, thread_name_prefix=name, initializer=_lower_priority, initargs=(niceness,)
    )


def return_freed_memory() -> None:
    """Return the pixels of large photos to the system when they are freed; no effect without glibc.

    By default glibc keeps blocks of up to 32 MB once one was freed: after a few large photos a server would
    hold hundreds of megabytes forever.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, _PIXEL_BLOCK)


def trim_memory() -> None:
    """Collect garbage, and return memory to the system that was needed only to open a release."""
    gc.collect()
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
