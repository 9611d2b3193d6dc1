"""How many threads compute at once."""

import os
from contextlib import AbstractContextManager
from typing import Any

from fb_marketplace.batches import available_cores


def one_thread() -> AbstractContextManager[Any]:
    """Let BLAS and OpenMP, and so torch, work in one thread for a while.

    Small or sparse work gains little by more. Sums are in one order then, and a model is the same on a
    laptop and on a server.
    """
    from threadpoolctl import threadpool_limits

    found: AbstractContextManager[Any] = threadpool_limits(1)
    return found


def openmp_threads() -> int:
    """Give how many threads OpenMP is to take: as many as ``OMP_NUM_THREADS`` says, else one a core.

    For libraries that have to be told a number, such as LightGBM: threads that share a core with another
    process wait for each other at every step, many times as long as they work.
    """
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(told) if told.isdecimal() and int(told) else available_cores()
