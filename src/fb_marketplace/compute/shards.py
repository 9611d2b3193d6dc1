"""Work on the rows of tables, in shards that workers process in parallel."""

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import connection
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from fb_marketplace.compute.isolation import Isolation, Isolator, LostProcessError
from fb_marketplace.compute.threads import available_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shard = TypeVar("Shard")
Result = TypeVar("Result")
Value = TypeVar("Value")

SHARDS_PER_WORKER: Final = 2
"""Shards in memory per worker: one to work on, and the next one."""

MAX_SHARD_BYTES: Final = 64 * 1024 * 1024


class PerProcess(Generic[Value]):
    """A value, such as a model, that each process opens once, when it first needs it. It is picklable."""

    def __init__(self, open_value: Callable[[], Value]) -> None:
        """Set the picklable function that opens the value."""
        self._open = open_value
        self._lock = Lock()
        self._values: list[Value] = []

    def get(self) -> Value:
        """Return the value."""
        with self._lock:
            if not self._values:
                self._values.append(self._open())
            return self._values[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return PerProcess, (self._open,)


class Engine(Protocol):
    """Workers of another machine."""

    @property
    def train_workers(self) -> int:
        """Number of processes that train a network, and of trials at a time; 0: none."""

    @property
    def train_device(self) -> str:
        """Type of their device, ``cpu`` or ``cuda``."""

    def map(
        self,
        function: Callable[[Any], Any],
        shards: Iterable[Any],
        sink: Callable[[Any], Any] | None,
        isolation: Isolation[Any, Any] | None,
    ) -> Iterator[Any]:
        """Yield the result of each shard, after the sink, in any order."""

    def train(self, loop: Callable[[], Any]) -> None:
        """Call a function in each process of a group; again in all of them if one is lost."""

    def start_trials(
        self, function: Callable[[Any], Result]
    ) -> Callable[[Any], Callable[[], Result]]:
        """Return a function that starts the work on a value and returns a function that waits for it."""


_engine: Engine | None = None


def use_engine(engine: Engine | None) -> None:
    """Set the engine of this process; None for the cores of this machine."""
    global _engine  # noqa: PLW0603 - only a run's configuration knows the engine
    _engine = engine


def current_engine() -> Engine | None:
    """Return the engine of this process."""
    return _engine


def map_shards(
    function: Callable[[Shard], Result],
    shards: Iterable[Shard],
    sink: Callable[[Result], Any] | None = None,
    *,
    max_workers: int = 0,
    threads: bool = False,
    local: bool = False,
    isolation: Isolation[Shard, Result] | None = None,
) -> Iterator[Any]:
    """Yield the result of a function for each shard, in any order.

    A shard and its result are small enough that several fit in memory: a few thousand rows, or the
    references to some megabytes of photos. At most two shards per worker are in memory.

    Args:
        function: a picklable function. It is sent to each worker once.
        shards: Arrow tables, or other picklable values; read lazily as results are consumed.
        sink: a picklable function that writes a result to storage. The driver commits its return value.
            Workers of other machines call it. Local workers do not: the driver gets their results.
        max_workers: maximum number of workers; 0: one per core; 1: work in this process. An engine ignores
            other numbers than 1.
        threads: whether the function releases the GIL most of the time, so that threads are enough.
        local: whether to work on this machine despite an engine.
        isolation: handling of shards that end their process. It needs processes: one also with one core.

    Yields:
        The results.

    Raises:
        UserError: a shard ended its process in each attempt.
    """
    if _engine is not None and max_workers != 1 and not local:
        yield from _engine.map(function, shards, sink, isolation)
        return
    workers = max_workers or available_cores()
    if max_workers == 1 or (workers == 1 and isolation is None):
        yield from map(function, shards)
        return
    if threads:
        yield from _map(ThreadPoolExecutor(workers), function, shards, workers)
        return
    remaining, isolator = iter(shards), Isolator(isolation)
    while lost := (yield from _map(_processes(function, workers), _call, remaining, workers)):
        with closing(IsolatedProcess(function)) as process:
            for shard in lost:
                yield from isolator.work(process.run, shard)
    yield from isolator.rejections()


def _processes(
    function: Callable[[Any], Any], workers: int, context: SpawnContext | None = None
) -> ProcessPoolExecutor:
    # Never fork: a child forked after OpenMP or Lance has run hangs.
    return ProcessPoolExecutor(
        workers, context or SpawnContext(), initializer=_initialize_worker, initargs=(function,)
    )


class _OneProcessContext(SpawnContext):
    """A context that keeps its latest process, whose exit code no executor returns."""

    process: BaseProcess | None = None

    def Process(self, *arguments: Any, **options: Any) -> SpawnProcess:  # type: ignore[override] # noqa: N802
        self.process = process = SpawnProcess(*arguments, **options)
        return process


class IsolatedProcess:
    """A process that works on one shard at a time, followed by a new one when it ends."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        """Set the function, as :func:`map_shards` takes it."""
        self._function = function
        self._start()

    def _start(self) -> None:
        self._context = _OneProcessContext()
        self._pool = _processes(self._function, 1, self._context)

    def run(self, shard: Any) -> Any:
        """Return the result of a shard.

        Raises:
            LostProcessError: the process ended.
        """
        try:
            return self._pool.submit(_call, shard).result()
        except BrokenProcessPool as error:
            self.close()
            process = self._context.process
            self._start()
            raise LostProcessError(process.exitcode if process else None) from error

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


def shard_slices(
    sizes: "NDArray[np.int64]", max_rows: int, max_bytes: int = MAX_SHARD_BYTES
) -> Iterator[slice]:
    """Yield the rows of each shard. A row that is larger than a shard is a shard of its own.

    Args:
        sizes: int64, (rows,): size of each row's data in bytes.
        max_rows: maximum number of rows of a shard.
        max_bytes: maximum number of bytes of a shard.
    """
    import numpy as np

    totals, start = np.cumsum(sizes), 0
    while start < len(sizes):
        limit = totals[start] - sizes[start] + max_bytes
        end = max(start + 1, int(np.searchsorted(totals, limit, "right")))
        end = min(end, start + max_rows)
        yield slice(start, end)
        start = end


def _map(
    pool: Executor, call: Callable[[Any], Any], shards: Iterable[Any], workers: int
) -> Generator[Any, None, list[Any]]:
    """Yield the results of shards, all of them unless a process ends; return the shards that it leaves."""
    pending: dict[Future[Any], Any] = {}
    lost: list[Any] = []

    def results() -> Iterator[Any]:
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            shard = pending.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                lost.append(shard)
            else:
                yield future.result()

    try:
        for shard in shards:
            try:
                pending[pool.submit(call, shard)] = shard
            except BrokenProcessPool:
                lost.append(shard)
            if not lost and len(pending) >= SHARDS_PER_WORKER * workers:
                yield from results()
            if lost:
                break
        while pending:
            yield from results()
        return lost
    finally:
        # Wait for threads: they may use files that the caller closes next.
        pool.shutdown(wait=isinstance(pool, ThreadPoolExecutor), cancel_futures=True)


_function: Callable[[Any], Any]


def _call(shard: Any) -> Any:
    return _function(shard)


def _initialize_worker(function: Callable[[Any], Any]) -> None:
    """Limit a worker to one thread, since workers share the cores, and end it with its parent."""
    global _function  # noqa: PLW0603 - a process works for one pool
    _function = function
    os.environ["OMP_NUM_THREADS"] = "1"
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_exit_with_parent, args=(parent.sentinel,), daemon=True).start()


def _exit_with_parent(sentinel: int) -> None:
    """Exit when the parent ends. Otherwise workers of a killed parent would wait for work forever."""
    connection.wait([sentinel])
    os._exit(1)
