import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

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


def test_lock_is_held_by_one_thread(lock):
    with lock.hold():
        assert not is_free(lock)
    assert is_free(lock)


@pytest.mark.parametrize("is_released", [False, True])
def test_lock_is_free_after_an_error(lock, is_released):
    def fail():
        with lock.hold():
            if is_released:
                lock.release()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert is_free(lock)
    lock.acquire()  # no longer in hold()
    assert is_free(lock)


def test_lock_is_free_from_release_to_acquire(lock):
    with lock.hold():
        lock.release()
        lock.release()
        assert is_free(lock)
        lock.acquire()
        lock.acquire()
        assert not is_free(lock)
    assert is_free(lock)


def test_thread_without_lock_leaves_that_of_another(lock):
    def change():
        lock.release()
        lock.acquire()
        return True

    with lock.hold():
        assert run(change)
        assert not is_free(lock)


def test_thread_continues_after_max_wait():
    lock = InterpreterLock(max_wait=0.01)

    def work():
        with lock.hold():
            lock.release()
            lock.acquire()
            return True

    with lock.hold():
        assert run(work)
        assert not is_free(lock)
    assert is_free(lock)


def test_waiting_thread_continues_when_lock_is_free(lock):
    waits = threading.Event()

    def work():
        waits.set()
        with lock.hold():
            return True

    with ThreadPoolExecutor(1) as other:
        with lock.hold():
            held = other.submit(work)
            waits.wait(SECONDS)
            assert not held.done()
        assert held.result(SECONDS)
