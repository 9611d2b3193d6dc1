"""The one seam through which work goes over batches of rows.

Its engine is processes of this machine; whoever calls it knows no more than that results come in the
order of the batches.
"""

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
    """Apply a function to each batch; at most two batches a process are in memory at a time.

    Args:
        function: picklable, such as a function of a module, or a ``functools.partial`` of one.
        batches: drawn only as fast as results are taken.
        processes: how many work at once; 0: one for each core; 1: in this process.

    Yields:
        The results, in the order of the batches.
    """
    processes = processes or available_cores()
    if processes == 1:
        yield from map(function, batches)
        return
    # Spawned, never forked: a child forked after OpenMP or Lance has run hangs.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_work_alone) as pool:
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
    """Give how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _work_alone() -> None:
    """One thread a process: they share the cores among themselves."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    """End with the parent: the workers of one that was killed would wait for work for ever."""
    connection.wait([sentinel])
    os._exit(1)


def limit_blas_threads() -> AbstractContextManager[Any]:
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
