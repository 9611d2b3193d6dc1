"""Numbers of cores and threads."""

import os
from contextlib import AbstractContextManager
from typing import Any


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_blas_threads() -> AbstractContextManager[Any]:
    """Return a context manager that limits BLAS and OpenMP, and therefore torch, to one thread.

    Small or sparse work gains little from more threads. With one thread, sums have a fixed order, so a
    model is the same on a laptop and on a server.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def openmp_threads() -> int:
    """Return the number of OpenMP threads: ``OMP_NUM_THREADS`` if it is set, else one per core.

    For libraries that need an explicit number, such as LightGBM. If other processes use the same cores,
    OpenMP threads spend most of their time waiting for each other at each step.
    """
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(limit) if limit.isdecimal() and int(limit) else available_cores()
