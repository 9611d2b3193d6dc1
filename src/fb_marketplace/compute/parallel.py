"""Parallel processing of batches, and control of thread counts."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import connection
from threading import Thread
from typing import Any, TypeVar

Batch = TypeVar("Batch")
Result = TypeVar("Result")


def map_batches(
    function: Callable[[Batch], Result], batches: Iterable[Batch], processes: int = 0
) -> Iterator[Result]:
    """Yield the results of a function for each batch, computed in parallel processes.

    At most two batches per process are in memory.

    Args:
        function: a picklable function: at module level, or a ``functools.partial`` of one.
        batches: the batches, read lazily as results are consumed.
        processes: number of processes; 0: one per core; 1: run in this process.

    Yields:
        The results, in the order of the batches.
    """
    processes = processes or available_cores()
    if processes == 1:
        yield from map(function, batches)
        return
    # Never fork: a child forked after OpenMP or Lance has run hangs.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_initialize_worker) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(function, batch))
                if len(waiting) >= 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _initialize_worker() -> None:
    """Limit a worker to one thread, since workers share the cores, and end it with its parent."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_exit_with_parent, args=(parent.sentinel,), daemon=True).start()


def _exit_with_parent(sentinel: int) -> None:
    """Exit when the parent ends. Otherwise workers of a killed parent would wait for work forever."""
    connection.wait([sentinel])
    os._exit(1)


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
