"""Threads for what would hold up the event loop, which they give way to."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_GIVES_WAY: Final = 5
"""Niceness of a worker. The event loop is to be woken at once even where every core encodes: it is what
takes, and turns away, requests."""


def make_thread_pool(count: int, name: str) -> ThreadPoolExecutor:
    """Make a pool of threads that give way to others of the process, where the system can do that."""
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_give_way)


def _give_way() -> None:
    # Linux alone has a priority for each thread.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _GIVES_WAY)
