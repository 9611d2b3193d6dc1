import os
import subprocess
import sys
import threading
import time

import pytest

from fb_marketplace_serving.server.inference.threads import (
    BACKGROUND_NICENESS,
    MAX_PROMPT_USAGE,
    FairThreadPool,
)

WORKER = """
import os, threading
from fb_marketplace_serving.server.inference.threads import make_thread_pool
os.nice({change})
read = lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
print(os.nice(0), make_thread_pool(1, "test", 5).submit(read).result())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities per thread")
@pytest.mark.parametrize("change", [0, 15])
def test_worker_has_low_priority_at_any_priority_of_the_process(change):
    code = WORKER.format(change=change)

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    process, worker = map(int, ended.stdout.split())
    assert worker == max(process, 5)


class Pools:
    """A pool, another one, and the time."""

    def __init__(self):
        self.now = 0.0
        self.pool, self.other = (
            FairThreadPool(1, name, 1, clock=lambda: self.now) for name in ("pool", "other")
        )
        self.pool.rivals.append(self.other.is_active)

    def work(self, seconds):
        self.pool.submit(compute, seconds).result()

    @property
    def is_background(self):
        return self.pool.submit(niceness).result() == BACKGROUND_NICENESS


@pytest.fixture
def pools():
    if sys.platform != "linux" or niceness() >= BACKGROUND_NICENESS:
        pytest.skip("needs priorities per thread")
    pools = Pools()
    pools.other.submit(compute, 0.003).result()
    yield pools
    pools.pool.shutdown()
    pools.other.shutdown()


def niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def compute(seconds):
    """Take CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize(("share", "expected"), [(0.5, False), (1.5, True)])
def test_work_that_takes_much_of_a_core_is_background(pools, share, expected):
    pools.work(share * MAX_PROMPT_USAGE)

    assert pools.is_background is expected


def test_work_is_prompt_again_after_a_pause(pools):
    pools.work(1.5 * MAX_PROMPT_USAGE)

    pools.now += 2

    assert not pools.is_background


def test_only_kind_of_work_is_prompt(pools):
    pools.now += 10
    pools.work(1.5 * MAX_PROMPT_USAGE)
    alone = pools.is_background

    pools.other.submit(compute, 0.003).result()

    assert (alone, pools.is_background) == (False, True)


def test_flood_is_background_while_other_work_is_unfinished(pools):
    pools.now += 10
    pools.work(1.5 * MAX_PROMPT_USAGE)
    end = threading.Event()
    pools.other.submit(end.wait)

    is_background = pools.is_background
    end.set()

    assert is_background


def test_cancelled_work_is_finished(pools):
    pools.now += 10
    end = threading.Event()
    running, queued = (pools.other.submit(end.wait) for _ in range(2))
    queued.cancel()
    end.set()
    running.result()
    pools.other.shutdown()
    pools.now += 10

    with pytest.raises(RuntimeError):
        pools.other.submit(int)
    assert not pools.other.is_active()


def test_failed_work_counts_and_raises(pools):
    def fail():
        compute(1.5 * MAX_PROMPT_USAGE)
        raise KeyError

    with pytest.raises(KeyError):
        pools.pool.submit(fail).result()

    assert pools.is_background
