import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fb_marketplace_serving.interpreter_lock import InterpreterLock

SECONDS = 20


@pytest.fixture
def lock():
    return InterpreterLock(max_wait=SECONDS)


def can_hold(lock):
    """Return whether another thread can hold the lock now."""

    def try_lock():
        is_free = lock._lock.acquire(blocking=False)
        if is_free:
            lock._lock.release()
        return is_free

    with ThreadPoolExecutor(1) as other:
        return other.submit(try_lock).result(SECONDS)


def test_lock_is_held_by_one_thread(lock):
    with lock.hold():
        assert not can_hold(lock)
    assert can_hold(lock)


def test_lock_is_free_after_an_error(lock):
    with pytest.raises(KeyError), lock.hold():
        raise KeyError

    assert can_hold(lock)


def test_lock_is_free_while_released(lock):
    with lock.hold():
        with lock.release():
            assert can_hold(lock)
        assert not can_hold(lock)


def test_lock_is_held_again_after_an_error_while_released(lock):
    with lock.hold():
        with pytest.raises(KeyError), lock.release():
            raise KeyError
        assert not can_hold(lock)


def test_nested_release_does_not_hold(lock):
    with lock.hold(), lock.release():
        with lock.release():
            pass
        assert can_hold(lock)


def test_release_without_lock_leaves_that_of_another_thread(lock):
    with ThreadPoolExecutor(1) as other:

        def release():
            with lock.release():
                return can_hold(lock)

        with lock.hold():
            assert not other.submit(release).result(SECONDS)


def test_thread_continues_after_max_wait():
    lock = InterpreterLock(max_wait=0.01)
    with ThreadPoolExecutor(1) as other:

        def hold():
            with lock.hold(), lock.release():
                return True

        with lock.hold():
            assert other.submit(hold).result(SECONDS)
            assert not can_hold(lock)


def test_waiting_thread_continues_when_lock_is_free(lock):
    waits = threading.Event()
    with ThreadPoolExecutor(1) as other:

        def hold():
            waits.set()
            with lock.hold():
                return True

        with lock.hold():
            held = other.submit(hold)
            waits.wait(SECONDS)
            assert not held.done()
        assert held.result(SECONDS)
