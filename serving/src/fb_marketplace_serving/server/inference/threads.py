"""Thread pools with lower priority than the event loop."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_NICENESS: Final = 5
"""Niceness of a worker. The event loop must wake at once to accept and reject requests, even if every core
is encoding."""


def make_thread_pool(count: int, name: str) -> ThreadPoolExecutor:
    """Return a pool of low-priority threads. Only Linux supports priorities per thread."""
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_lower_priority)


def _lower_priority() -> None:
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # Only root may raise a priority: a process that was started with `nice` keeps its own.
        niceness = max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
