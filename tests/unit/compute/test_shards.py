import os
import signal
import threading
import time
from functools import partial
from itertools import count

import numpy as np
import pytest

from fb_marketplace.compute import isolation, shards
from fb_marketplace.compute.isolation import Isolation, LostProcessError
from fb_marketplace.compute.shards import PerProcess, map_shards, shard_slices, use_engine
from fb_marketplace.compute.threads import available_cores
from fb_marketplace.errors import UserError

WORKERS = [{"max_workers": 1}, {"max_workers": 2}, {"max_workers": 2, "threads": True}]


def tenfold(number):
    return number * 10, os.getpid()


def slow_for_the_first(number):
    time.sleep(3 if number == 0 else 0)
    return number


def refuse_the_third(number):
    if number == 2:
        raise ValueError("the third")
    return number


def crash_at_thirteen(numbers):
    """End the process as a crash of a decoder does."""
    if 13 in numbers:
        os.kill(os.getpid(), signal.SIGSEGV)
    return [(number, os.getpid()) for number in numbers]


def kill_at_thirteen(numbers):
    """End the process as the kernel does if memory is short."""
    if 13 in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return numbers


def exit_at_thirteen(numbers):
    if 13 in numbers:
        os._exit(1)
    return numbers


def crash_once(folder, numbers):
    try:
        (folder / "crashed").touch(exist_ok=False)
    except FileExistsError:
        return numbers
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def halves(numbers):
    middle = len(numbers) // 2
    return (numbers[:middle], numbers[middle:]) if middle else ()


ISOLATION = Isolation(halves, lambda numbers: [(numbers[0], "rejected")], "number {0[0]}".format)


class Opened:
    """Returns the value that its process opened."""

    def __init__(self, open_value):
        self.value = PerProcess(open_value)

    def __call__(self, number):
        return self.value.get(), number


@pytest.mark.parametrize("workers", WORKERS)
def test_each_shard_has_its_result(workers):
    results = [result for result, _ in map_shards(tenfold, range(6), **workers)]

    assert sorted(results) == [0, 10, 20, 30, 40, 50]


def test_processes_are_not_the_current_one():
    assert os.getpid() not in {pid for _, pid in map_shards(tenfold, range(6), max_workers=2)}


@pytest.mark.parametrize("workers", [WORKERS[0], WORKERS[2]])
def test_one_worker_and_threads_are_in_this_process(workers):
    assert {pid for _, pid in map_shards(tenfold, [1, 2], **workers)} == {os.getpid()}


def test_slow_shard_does_not_delay_others():
    results = list(map_shards(slow_for_the_first, range(20), max_workers=2, threads=True))

    assert results[-1] == 0
    assert sorted(results) == list(range(20))


@pytest.mark.parametrize("workers", WORKERS)
def test_worker_error_is_raised_to_the_caller(workers):
    with pytest.raises(ValueError, match="the third"):
        list(map_shards(refuse_the_third, range(6), **workers))


@pytest.mark.parametrize(("workers", "ahead"), [*zip(WORKERS, (1, 4, 4), strict=True)])
def test_at_most_two_shards_per_worker_are_read_ahead(workers, ahead):
    drawn = []

    def source():
        for number in range(50):
            drawn.append(number)
            yield number

    results = map_shards(tenfold, source(), **workers)

    assert drawn == []
    for taken in range(1, 4):
        next(results)
        assert len(drawn) <= ahead + taken - 1
    results.close()
    assert len(drawn) <= ahead + 2


@pytest.mark.parametrize("workers", WORKERS)
def test_no_shards_give_no_results(workers):
    assert list(map_shards(tenfold, [], **workers)) == []


def test_stopped_threads_end_their_shard_only():
    started, finished = [], []
    working, stopped = threading.Event(), threading.Event()

    def wait(number):
        started.append(number)
        if number == 2:
            working.set()
        if number:
            stopped.wait(30)
        finished.append(number)

    results = map_shards(wait, range(10), max_workers=2, threads=True)
    next(results)
    assert working.wait(30)
    threading.Timer(0.2, stopped.set).start()
    results.close()

    assert sorted(started) == sorted(finished) == [0, 1, 2]


@pytest.mark.parametrize("cores", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_row_that_ends_its_process_is_rejected_alone(monkeypatch, cores):
    monkeypatch.setattr(shards, "available_cores", lambda: cores)
    numbers = [list(range(start, start + 8)) for start in range(0, 48, 8)]

    parts = map_shards(crash_at_thirteen, numbers, isolation=ISOLATION)
    results = dict(row for part in parts for row in part)

    assert sorted(results) == list(range(48))
    assert [*results][-1] == 13
    assert [number for number, process in results.items() if process == "rejected"] == [13]
    assert os.getpid() not in results.values()


def test_killed_process_loses_nothing(tmp_path):
    numbers = [[number] for number in range(6)]

    results = list(map_shards(partial(crash_once, tmp_path), numbers, max_workers=2))

    assert sorted(results) == numbers


def test_processes_that_always_end_are_an_error():
    with pytest.raises(UserError, match=r"SIGSEGV, SIGSEGV.*memory"):
        list(map_shards(crash_at_thirteen, [[1, 13]], max_workers=2))


@pytest.mark.parametrize(
    ("function", "end"),
    [
        (kill_at_thirteen, "SIGKILL"),
        pytest.param(exit_at_thirteen, "code 1", marks=pytest.mark.slow),
    ],
)
def test_row_that_does_not_crash_its_process_is_an_error(function, end):
    with pytest.raises(UserError, match=f"{end}.*number 13 alone.*memory"):
        list(map_shards(function, [[13]], max_workers=2, isolation=ISOLATION))


def lose(exit_code, shard):
    raise LostProcessError(exit_code)


@pytest.fixture
def isolator():
    return isolation.Isolator(ISOLATION)


@pytest.mark.parametrize("exit_code", [-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS])
def test_isolator_rejects_crashes_last(isolator, exit_code):
    assert list(isolator.work(partial(lose, exit_code), [4, 5])) == []
    assert list(isolator.rejections()) == [[(4, "rejected")], [(5, "rejected")]]


@pytest.mark.parametrize("exit_code", [-signal.SIGKILL, -signal.SIGTERM, 1, 0, None])
def test_isolator_rejects_crashes_only(isolator, exit_code):
    with pytest.raises(UserError, match="number 4 alone"):
        list(isolator.work(partial(lose, exit_code), [4, 5]))


def test_one_crash_of_two_attempts_rejects_no_row(isolator):
    exit_codes = iter([-signal.SIGSEGV, None])

    with pytest.raises(UserError, match="SIGSEGV, unknown"):
        list(isolator.work(lambda shard: lose(next(exit_codes), shard), [4]))


def test_too_many_crashes_are_an_error_that_names_rows(isolator):
    many = list(range(isolation.MAX_REJECTED + 1))

    assert list(isolator.work(partial(lose, -signal.SIGSEGV), many[1:])) == []
    with pytest.raises(UserError, match=r"17 rows.*number 1, number 2"):
        list(isolator.work(partial(lose, -signal.SIGSEGV), many[:1]))


class FakeEngine:
    def map(self, function, shards, sink, isolation):
        return ((sink(function(shard)), "engine") for shard in shards)


@pytest.fixture
def engine():
    use_engine(FakeEngine())
    yield
    use_engine(None)


@pytest.mark.parametrize("max_workers", [0, 2])
def test_engine_is_used_on_a_driver_with_one_core(engine, monkeypatch, max_workers):
    monkeypatch.setattr(shards, "available_cores", lambda: 1)

    assert list(map_shards(abs, [-1], str, max_workers=max_workers)) == [("1", "engine")]


def test_local_work_is_on_this_machine_despite_an_engine(engine):
    assert list(map_shards(abs, [-1], str, threads=True, local=True)) == [1]


def test_one_worker_is_this_process_despite_an_engine(engine):
    assert list(map_shards(abs, [-1], str, max_workers=1)) == [1]


def test_processes_open_a_value_once():
    results = list(map_shards(Opened(os.getpid), range(12), max_workers=2))

    assert os.getpid() not in {value for value, _ in results}
    assert sorted(number for _, number in results) == list(range(12))


def test_threads_share_a_value(monkeypatch):
    numbers = count()

    results = list(
        map_shards(Opened(lambda: next(numbers)), range(12), max_workers=3, threads=True)
    )

    assert {value for value, _ in results} == {0}


def test_shards_are_limited_by_rows():
    assert list(shard_slices(np.ones(5), 2)) == [slice(0, 2), slice(2, 4), slice(4, 5)]


def test_shards_are_limited_by_bytes(monkeypatch):
    sizes = np.array([4, 6, 1, 25, 3, 3])

    result = [sizes[rows].tolist() for rows in shard_slices(sizes, 100, max_bytes=10)]

    assert result == [[4, 6], [1], [25], [3, 3]]


def test_no_rows_give_no_shards():
    assert list(shard_slices(np.array([], dtype=np.int64), 3)) == []


def test_cpu_count_is_at_least_one():
    assert available_cores() >= 1
