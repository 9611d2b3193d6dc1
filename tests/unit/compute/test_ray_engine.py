import os
import pickle
import signal
import socket
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import pytest
import torch

from fb_marketplace.compute import ray_engine, ray_train
from fb_marketplace.compute.isolation import Isolation
from fb_marketplace.compute.ray_engine import RayEngine
from fb_marketplace.errors import UserError

TRAIN = {"workers": 2, "cpus_per_worker": 1, "use_gpu": False, "python": None, "max_failures": 3}
OPTIONS = {"shards_per_core": 2, "memory_per_task": 0, "max_retries": 5, "train": TRAIN}


@pytest.mark.parametrize(
    ("spec", "address", "expected"),
    [(None, "10.0.0.1:6379", "ray==2.60.0"), ("ray", "", "RAY_ADDRESS")],
)
def test_missing_requirement_is_named(monkeypatch, spec, address, expected):
    monkeypatch.setattr(ray_engine, "find_spec", lambda _: spec)
    monkeypatch.setenv("RAY_ADDRESS", address)

    with pytest.raises(UserError, match=expected):
        RayEngine(**OPTIONS)


class NodeDiedError(Exception):
    pass


class LocalRayletDiedError(Exception):
    pass


class TaskError(Exception):
    def __init__(self, cause):
        super().__init__("Traceback of a worker")
        self.cause = cause


class FakeRay:
    """Ray whose tasks fail."""

    exceptions = SimpleNamespace(
        NodeDiedError=NodeDiedError,
        LocalRayletDiedError=LocalRayletDiedError,
        OutOfMemoryError=MemoryError,
        RayError=NodeDiedError,
        RayTaskError=TaskError,
        WorkerCrashedError=EOFError,
    )

    cloudpickle = pickle

    def __init__(self, error, connected=True):
        self.error, self.options, self.canceled = error, [], []
        self.is_initialized = lambda: connected

    def init(self, **_):
        raise self.error

    def get(self, _):
        raise self.error

    def put(self, value):
        return value

    def remote(self, function):
        # As in Ray, a function with options has no `options`.
        with_options = SimpleNamespace(remote=lambda *arguments: partial(function, *arguments))

        def set_options(**options):
            self.options.append(options)
            return with_options

        return SimpleNamespace(options=set_options)

    def wait(self, pending):
        return pending[:1], pending[1:]

    def cluster_resources(self):
        return {"CPU": 1}

    def cancel(self, reference, force=False):
        self.canceled.append((reference, force))


class RayThatWorks(FakeRay):
    """Ray that works on tasks, and loses the workers of the first ones."""

    def __init__(self, *losses):
        super().__init__(None)
        self.losses = [*losses]

    def put(self, value):
        return SimpleNamespace(value=value, hex=lambda: id(value))

    def get(self, reference):
        if isinstance(reference, SimpleNamespace):
            return reference.value
        if self.losses:
            raise self.losses.pop(0)
        return reference()


@pytest.fixture
def run_with(monkeypatch):
    """Works on a shard with another Ray."""

    def run(ray, address="127.0.0.1:6379", *, function=str, shard=1, isolation=None):
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setattr(ray_engine, "find_spec", lambda _: "ray")
        monkeypatch.setenv("RAY_ADDRESS", address)
        for name in (ray_engine.MEMORY_RETRIES, ray_engine.REQUEST_TIMEOUT):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        return list(RayEngine(**OPTIONS).map(function, [shard], None, isolation))

    return run


@pytest.fixture
def engine_of(monkeypatch):
    """Returns an engine with another Ray."""

    def engine(ray, **train):
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setattr(ray_engine, "find_spec", lambda _: "ray")
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
        return RayEngine(**OPTIONS | {"train": TRAIN | train})

    return engine


def test_training_needs_the_cores_of_all_workers(engine_of, caplog):
    class Idle(FakeRay):
        def get(self, _):
            pass

    ray = Idle(None)
    engine_of(ray, cpus_per_worker=4, python="/opt/python").train(print)

    assert "waits for 8 cores; the cluster has 1" in caplog.text
    (options,) = ray.options
    assert options["runtime_env"]["py_executable"] == "/opt/python"
    assert ray.canceled == []


def test_training_needs_a_gpu_for_each_worker(engine_of, caplog):
    class Idle(FakeRay):
        def get(self, _):
            pass

    engine_of(Idle(None), workers=1, use_gpu=True).train(print)

    assert "waits for 1 GPUs; the cluster has 0" in caplog.text
    assert "cores" not in caplog.text


@pytest.mark.parametrize(
    ("use_gpu", "expected"),
    [(False, {"runtime_env": {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}}), (True, {})],
)
def test_gpus_are_hidden_from_training_without_them(engine_of, use_gpu, expected):
    ray = FakeRay(KeyboardInterrupt())
    engine = engine_of(ray, use_gpu=use_gpu)

    engine.start_trials(str)
    with pytest.raises(KeyboardInterrupt):
        engine.train(print)

    environments = [
        {name: value for name, value in options.items() if name == "runtime_env"}
        for options in ray.options
    ]
    assert environments == [expected, expected]


@pytest.mark.parametrize(("device", "expected"), [("cpu", []), ("cuda:0", ["cuda:0"])])
def test_worker_selects_the_gpu_that_ray_gives_it(monkeypatch, device, expected):
    selected, calls = [], []
    for name in ("ray", "ray.train", "ray.train.torch"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["ray.train.torch"].get_device = lambda: torch.device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda chosen: selected.append(str(chosen)))

    ray_train._call_in_worker(lambda: calls.append(None), {})

    assert selected == expected
    assert len(calls) == 1


def test_error_of_a_task_is_raised_as_itself(engine_of):
    ray = FakeRay(TaskError(UserError("the photos have no labels")))

    with pytest.raises(UserError, match=r"^the photos have no labels"):
        engine_of(ray).train(print)


def test_lost_training_is_resumed_by_the_same_command(engine_of):
    with pytest.raises(UserError, match=r"6 times: gone.*run the same command again") as error:
        engine_of(FakeRay(NodeDiedError("gone"))).train(print)

    assert "memory_per_task" not in str(error.value)


def test_interrupted_training_ends_its_processes(engine_of):
    ray = FakeRay(KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        engine_of(ray).train(print)

    ((_, force),) = ray.canceled
    assert force


def test_trial_that_loses_its_machine_is_a_user_error(engine_of):
    wait = engine_of(FakeRay(NodeDiedError("gone"))).start_trials(str)(1)

    with pytest.raises(UserError, match="6 times: gone"):
        wait()


@pytest.mark.parametrize("error", [NodeDiedError, LocalRayletDiedError, EOFError, MemoryError])
def test_task_that_lost_its_machine_is_a_user_error(run_with, error):
    with pytest.raises(UserError, match="6 times: gone"):
        run_with(FakeRay(error("gone")))


ISOLATION = Isolation(lambda text: tuple(text) if len(text) > 1 else (), str.lower, str)


def test_task_of_lost_worker_runs_again_in_parts(run_with):
    ray = RayThatWorks(EOFError(), MemoryError())

    assert run_with(ray, function=str.upper, shard="ab", isolation=ISOLATION) == ["A", "B"]


def crash_at_x(text):
    if "X" in text:
        os.kill(os.getpid(), signal.SIGSEGV)
    return text


def test_row_that_crashes_a_child_of_its_worker_is_rejected(run_with):
    ray = RayThatWorks(EOFError())

    assert run_with(ray, function=crash_at_x, shard="X", isolation=ISOLATION) == ["x"]


@pytest.mark.parametrize("error", [EOFError, MemoryError])
def test_row_that_loses_its_workers_is_an_error(run_with, error):
    ray = RayThatWorks(EOFError(), error(), error())

    with pytest.raises(UserError, match=r"on a alone.*memory"):
        run_with(ray, function=str.upper, shard="a", isolation=ISOLATION)


def test_isolated_tasks_are_retried_as_others(run_with):
    """Ray itself repeats the tasks of lost machines."""
    ray = RayThatWorks(EOFError())

    run_with(ray, function=str.upper, shard="a", isolation=ISOLATION)

    assert [options["max_retries"] for options in ray.options] == [5, 5]


@pytest.mark.parametrize("error", [ConnectionError, RuntimeError, NodeDiedError])
def test_cluster_that_does_not_answer_is_a_user_error(run_with, monkeypatch, error):
    monkeypatch.setattr(ray_engine, "_check_head", lambda _: None)

    with pytest.raises(UserError, match=r"127\.0\.0\.1:6379 does not answer: refused"):
        run_with(FakeRay(error("refused"), connected=False))


def test_silent_head_is_named_before_ray_waits_for_it(run_with, monkeypatch):
    monkeypatch.setattr(ray_engine, "CONNECT_TIMEOUT_S", 0.1)

    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        with pytest.raises(UserError, match=f"{address} does not answer: timed out"):
            run_with(FakeRay(AssertionError("not called"), connected=False), address)


def test_missing_head_is_named_before_ray_waits_for_it(run_with):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"

    with pytest.raises(UserError, match="refused"):
        run_with(FakeRay(AssertionError("not called"), connected=False), address)


def test_retries_of_memory_kills_are_bounded(run_with):
    with pytest.raises(UserError):
        run_with(FakeRay(MemoryError("gone")))

    assert os.environ[ray_engine.MEMORY_RETRIES] == "5"
