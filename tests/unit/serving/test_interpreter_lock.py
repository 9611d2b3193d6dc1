import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from fb_marketplace_serving import interpreter_lock
from fb_marketplace_serving.interpreter_lock import InterpreterLock

SECONDS = 20


@pytest.fixture
def lock():
    return InterpreterLock(max_wait=SECONDS)


def run(function):
    """Return the result of a function in another thread."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(function).result(SECONDS)


def is_free(lock):
    def try_lock():
        is_free = lock._lock.acquire(blocking=False)
        if is_free:
            lock._lock.release()
        return is_free

    return run(try_lock)


def test_lock_is_of_one_thread(lock):
    with lock.hold():
        assert not is_free(lock)
    assert is_free(lock)


@pytest.mark.parametrize("is_released", [False, True])
def test_lock_is_free_after_an_error(lock, is_released):
    def fail():
        with lock.hold(), lock.released() if is_released else nullcontext():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert is_free(lock)
    with lock.hold():
        assert not is_free(lock)


def test_lock_is_free_until_outer_released_ends(lock):
    with lock.hold():
        with lock.released():
            with lock.released():
                assert is_free(lock)
            assert is_free(lock)
        assert not is_free(lock)
    assert is_free(lock)


def test_lock_is_free_from_release_until_acquire(lock):
    with lock.hold():
        lock.release()
        with lock.released():
            pass
        assert is_free(lock)
        lock.acquire()
        lock.acquire()
        assert not is_free(lock)
    assert is_free(lock)


def test_lock_released_at_the_end_of_hold_stays_free(lock):
    with lock.hold():
        lock.release()
    assert is_free(lock)


def test_thread_outside_of_hold_acquires_no_lock(lock):
    lock.acquire()
    assert is_free(lock)
    lock.release()
    with lock.hold():
        assert not is_free(lock)


def test_nested_hold_is_an_error_and_leaves_lock(lock):
    with lock.hold():
        with pytest.raises(RuntimeError, match="once per thread"), lock.hold():
            pass
        assert not is_free(lock)
    assert is_free(lock)


def test_thread_without_lock_leaves_that_of_another(lock):
    def change():
        with lock.released():
            return not is_free(lock)

    with lock.hold():
        assert run(change)
        assert not is_free(lock)


def test_thread_continues_after_max_wait():
    lock = InterpreterLock(max_wait=0.01)

    def work():
        with lock.hold(), lock.released():
            return True

    with lock.hold():
        assert run(work)
        assert not is_free(lock)
    assert is_free(lock)


def test_threads_do_not_wait_for_one_that_is_slow_already(lock, monkeypatch):
    def work():
        with lock.hold():
            return True

    with lock.hold():
        monkeypatch.setattr(interpreter_lock, "monotonic", lambda: time.monotonic() + SECONDS)
        started = time.monotonic()
        assert all(run(work) for _ in range(3))
        assert time.monotonic() - started < SECONDS / 2


def test_slow_thread_does_not_shorten_wait_for_next(monkeypatch):
    lock = InterpreterLock(max_wait=SECONDS)
    later = time.monotonic() + 2 * SECONDS
    with lock.hold():
        monkeypatch.setattr(interpreter_lock, "monotonic", lambda: later)

    assert lock._since == later


def test_waiting_thread_continues_when_lock_is_free(lock):
    order, starts = [], threading.Event()

    def work():
        starts.set()
        with lock.hold():
            order.append("second")

    with ThreadPoolExecutor(1) as other:
        with lock.hold():
            result = other.submit(work)
            starts.wait(SECONDS)
            time.sleep(0.05)  # for a thread that does not wait
            order.append("first")
        result.result(SECONDS)
    assert order == ["first", "second"]
