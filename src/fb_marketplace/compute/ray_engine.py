"""Work in shards as tasks on a Ray cluster."""

import logging
import math
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fb_marketplace.compute.isolation import Isolation, Isolator, LostProcessError
from fb_marketplace.compute.library_versions import check_versions, versions_of
from fb_marketplace.compute.ray_train import LIBRARIES as TRAIN_LIBRARIES
from fb_marketplace.compute.ray_train import LOCK as TRAIN_LOCK
from fb_marketplace.compute.ray_train import TrainResources, train
from fb_marketplace.compute.shards import IsolatedProcess
from fb_marketplace.errors import UserError

ADDRESS: Final = "RAY_ADDRESS"

LIBRARIES: Final = (
    *("numpy", "onnxruntime", "opencv-python-headless", "pillow", "pillow-heif", "pyarrow"),
    *("pylance", "tokenizers"),
)
"""Libraries whose version may change a result. Workers must have those of the driver."""

LOCK: Final = "ray.lock"

CONNECT_TIMEOUT_S: Final = 20

MEMORY_RETRIES: Final = "RAY_task_oom_retries"
REQUEST_TIMEOUT: Final = "RAY_gcs_server_request_timeout_seconds"
"""Environment variables that Ray reads when it is imported."""

SHARD_REMEDY: Final = "raise compute.ray.memory_per_task if memory was short"
TRAIN_REMEDY: Final = "run the same command again: it resumes from the last completed epoch"
TRIAL_REMEDY: Final = (
    "raise compute.ray.train.cpus_per_worker if memory was short: fewer trials then share a machine"
)

_CORES_INTERVAL_S: Final = 10.0

logger = logging.getLogger(__name__)

_HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


class RayEngine:
    """Runs each shard as a task with one CPU.

    The project's code is sent to the workers. They need the libraries of ``ray.lock``, the raw photos and
    the lake under the same URLs, and their own credentials of the bucket.
    """

    def __init__(
        self,
        shards_per_core: int,
        memory_per_task: int,
        max_retries: int,
        train: Mapping[str, Any],
    ) -> None:
        """Check that Ray and the address of a cluster are present.

        Args:
            shards_per_core: tasks to submit at a time, per core of the cluster.
            memory_per_task: bytes that Ray reserves for a task.
            max_retries: retries of a task whose worker was lost.
            train: the fields of :class:`TrainResources`.

        Raises:
            UserError: one of them is missing.
        """
        if find_spec("ray") is None:
            raise UserError(
                "compute.engine is ray, but Ray is not installed. Run `pip install ray==2.60.0`."
            )
        if not os.environ.get(ADDRESS):
            raise UserError(
                f"compute.engine is ray, but {ADDRESS} is not set. Set it to the address of a cluster's "
                "head, such as 10.0.0.1:6379; see docs/cluster.md."
            )
        self._shards_per_core, self._max_retries = shards_per_core, max_retries
        self._options = {"num_cpus": 1, "memory": memory_per_task, "max_retries": max_retries}
        self._limit, self._limit_time = 0, -math.inf
        self._train = TrainResources(**train)

    @property
    def train_workers(self) -> int:
        """Number of processes that train a network, and of trials at a time."""
        return self._train.workers

    @property
    def train_device(self) -> str:
        """Type of their device."""
        return "cuda" if self._train.use_gpu else "cpu"

    def map(
        self,
        function: Callable[[Any], Any],
        shards: Iterable[Any],
        sink: Callable[[Any], Any] | None,
        isolation: Isolation[Any, Any] | None,
    ) -> Iterator[Any]:
        """Yield the result of each shard, after the sink, in any order.

        Raises:
            UserError: the cluster does not answer, or a task lost its worker or machine in all attempts.
        """
        ray = self._connect()
        work = ray.put(_Work(function, sink, versions_of(LIBRARIES), LOCK))
        task = ray.remote(_run).options(**self._options)
        isolated_task = ray.remote(_run_isolated).options(**self._options)
        pending: dict[Any, Any] = {}
        isolator = Isolator(isolation and _with_sink(isolation, sink))

        def run_alone(shard: Any) -> Any:
            # A crash ends only the child of the worker. Ray retries if the worker or its machine is lost.
            try:
                return _get(isolated_task.remote([work], shard))
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                raise LostProcessError(None) from error

        def results() -> Iterator[Any]:
            (done, *_), _ = ray.wait([*pending])
            shard = pending.pop(done)
            try:
                result = _get(done)
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                if isolation is None:
                    raise
            else:
                yield result
                return
            yield from isolator.work(run_alone, shard)

        try:
            with self._describe_losses(ray, SHARD_REMEDY):
                for shard in shards:
                    pending[task.remote([work], shard)] = shard
                    while len(pending) >= self._max_pending(ray):
                        yield from results()
                while pending:
                    yield from results()
                yield from isolator.rejections()
        finally:
            for reference in pending:
                ray.cancel(reference)

    def train(self, loop: Callable[[], Any]) -> None:
        """Call a function in each process of a group; again in all of them if one is lost.

        Raises:
            UserError: the cluster does not answer, or the training failed in all attempts.
        """
        ray = self._connect()
        resources = ray.cluster_resources()
        for name, unit, needed, remedy in (
            (
                "CPU",
                "cores",
                self._train.cpus,
                "lower compute.ray.train.workers or cpus_per_worker",
            ),
            (
                *("GPU", "GPUs", self._train.gpus),
                "lower compute.ray.train.workers, or set use_gpu to false",
            ),
        ):
            present = int(resources.get(name, 0))
            if present < needed:
                logger.warning(
                    "The training waits for %d %s; the cluster has %d. Add machines, or %s.",
                    *(needed, unit, present, remedy),
                )
        task = ray.remote(train).options(
            num_cpus=0, max_retries=self._max_retries, **self._train.options
        )
        reference = task.remote(loop, self._train, versions_of(TRAIN_LIBRARIES))
        try:
            with self._describe_losses(ray, TRAIN_REMEDY):
                _get(reference)
        except BaseException:
            # Its processes end with it.
            ray.cancel(reference, force=True)
            raise

    def start_trials(self, function: Callable[[Any], Any]) -> Callable[[Any], Callable[[], Any]]:
        """Return a function that starts a task on a value and returns a function that waits for its result.

        Args:
            function: a picklable function of a value. It is sent to the cluster once.
        """
        ray = self._connect()
        work = ray.put(_Work(function, None, versions_of(TRAIN_LIBRARIES), TRAIN_LOCK))
        task = ray.remote(_run).options(
            num_cpus=self._train.cpus_per_worker,
            max_retries=self._max_retries,
            **self._train.options,
        )

        def wait(reference: Any) -> Any:
            with self._describe_losses(ray, TRIAL_REMEDY):
                return _get(reference)

        return lambda value: partial(wait, task.remote([work], value))

    @contextmanager
    def _describe_losses(self, ray: Any, remedy: str) -> Iterator[None]:
        """Raise a UserError for a task that has lost its worker or machine in all attempts."""
        try:
            yield
        except (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.LocalRayletDiedError,
        ) as error:
            raise UserError(
                f"A task lost its Ray worker or machine {self._max_retries + 1} times: {error}. See the "
                f"logs of the workers, and {remedy}."
            ) from error

    def _connect(self) -> Any:
        # Ray's default is to retry without bound if memory is short.
        os.environ.setdefault(MEMORY_RETRIES, str(self._max_retries))
        os.environ.setdefault(REQUEST_TIMEOUT, str(CONNECT_TIMEOUT_S))
        import ray

        import fb_marketplace
        import fb_marketplace_serving

        if not ray.is_initialized():
            packages = [
                str(Path(str(package.__file__)).parent)
                for package in (fb_marketplace, fb_marketplace_serving)
            ]
            # Ray fetches them from the head: workers need neither a registry nor a repository.
            address = os.environ[ADDRESS]
            try:
                _check_head(address)
                ray.init(
                    address=address,
                    runtime_env={"py_modules": packages},
                    log_to_driver=False,
                    logging_level="warning",
                )
            except (OSError, RuntimeError, ray.exceptions.RayError) as error:
                raise UserError(
                    f"The Ray cluster at {address} does not answer: {error}. Check {ADDRESS}, "
                    "RAY_AUTH_TOKEN, that the head runs, and that this machine is in the cluster: "
                    "`ray start`."
                ) from error
        return ray

    def _max_pending(self, ray: Any) -> int:
        """Return the number of tasks to submit: clusters may grow during a run."""
        if time.monotonic() - self._limit_time > _CORES_INTERVAL_S:
            cores = int(ray.cluster_resources().get("CPU", 1))
            self._limit = max(1, self._shards_per_core * cores)
            self._limit_time = time.monotonic()
        return self._limit


def _with_sink(
    isolation: Isolation[Any, Any], sink: Callable[[Any], Any] | None
) -> Isolation[Any, Any]:
    """Return a handling whose rejected rows go through a sink."""
    if sink is None:
        return isolation
    return replace(isolation, reject=lambda shard: sink(isolation.reject(shard)))


@dataclass(frozen=True)
class _Work:
    """A function, its sink, the driver's versions of libraries, and the workers' lock file."""

    function: Callable[[Any], Any]
    sink: Callable[[Any], Any] | None
    versions: Mapping[str, str]
    lock: str

    def __call__(self, shard: Any) -> Any:
        result = self.function(shard)
        return self.sink(result) if self.sink else result


_loaded: dict[str, _Work] = {}
"""The latest work of this process: it holds a model that should be opened once."""


def _get(reference: Any) -> Any:
    """Return the result of a task.

    Raises:
        Exception: the error of the task itself. The message of Ray's is a traceback.
    """
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ray.exceptions.RayError):
            raise
        raise error.cause from error


def _run(references: list[Any], shard: Any) -> Any:
    """Return the result of a shard.

    Args:
        references: the reference to the work, in a list, since Ray would load a plain one for each task.
        shard: the shard.
    """
    return _load_work(references)(shard)


def _run_isolated(references: list[Any], shard: Any) -> Any:
    """Return the result of a shard, computed in a process of its own.

    Args:
        references: the reference to the work, in a list.
        shard: the shard.

    Raises:
        LostProcessError: the process ended. Ray itself does not tell why a worker ended.
    """
    import ray

    call = partial(_call_pickled, ray.cloudpickle.dumps(_load_work(references)))
    with closing(IsolatedProcess(call)) as process:
        return process.run(shard)


def _call_pickled(work: bytes, shard: Any) -> Any:
    return pickle.loads(work)(shard)  # noqa: S301 - the work of the driver


def _load_work(references: list[Any]) -> _Work:
    import ray

    (reference,) = references
    if reference.hex() not in _loaded:
        _loaded.clear()
        work = ray.get(reference)
        check_versions(work.versions, work.lock)
        _loaded[reference.hex()] = work
    return _loaded[reference.hex()]


def _check_head(address: str) -> None:
    """Check that an HTTP/2 server answers at HOST:PORT, since Ray waits for it for minutes.

    Raises:
        OSError: none does.
    """
    host, _, port = address.rpartition(":")
    if port.isdigit():
        endpoint = host.strip("[]"), int(port)
        with socket.create_connection(endpoint, CONNECT_TIMEOUT_S) as connection:
            connection.sendall(_HTTP2_PREFACE)
            connection.recv(1)
