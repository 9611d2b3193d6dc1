import subprocess
import sys
import threading
import time

import pytest

from fb_marketplace_serving.server.inference.threads import MAX_PROMPT_USAGE, FairThreadPool

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


@pytest.fixture
def pool_and_clock():
    now = [0.0]
    pool = FairThreadPool(1, "test", 5, clock=lambda: now[0])
    yield pool, now
    pool.shutdown()


def compute(seconds):
    """Take CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def is_background(pool):
    return "background" in pool.submit(threading.current_thread).result().name


@pytest.mark.parametrize(("share", "expected"), [(0.5, False), (1.5, True)])
def test_work_that_takes_much_of_a_core_is_background(pool_and_clock, share, expected):
    pool, _ = pool_and_clock

    pool.submit(compute, share * MAX_PROMPT_USAGE).result()

    assert is_background(pool) is expected


def test_work_is_prompt_again_after_a_pause(pool_and_clock):
    pool, now = pool_and_clock
    pool.submit(compute, 1.5 * MAX_PROMPT_USAGE).result()

    now[0] += 2

    assert not is_background(pool)


def test_failed_work_counts_and_raises(pool_and_clock):
    pool, _ = pool_and_clock

    def fail():
        compute(1.5 * MAX_PROMPT_USAGE)
        raise KeyError

    with pytest.raises(KeyError):
        pool.submit(fail).result()

    assert is_background(pool)
