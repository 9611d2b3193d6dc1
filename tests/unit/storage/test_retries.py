"""Retries of work on a table if the store fails."""

import time
from dataclasses import replace

import pytest

from fb_marketplace.storage import retries
from fb_marketplace.storage.retries import retry_on_store_error


@pytest.fixture
def attempts(monkeypatch):
    """One entry for each attempt. The work takes longer than the deadline; waits are short."""
    policy = replace(retries.LANCE_POLICY, deadline_s=0.01, max_wait_s=0.01)
    monkeypatch.setattr(retries, "LANCE_POLICY", policy)
    return []


def slow_work(attempts, failures):
    @retry_on_store_error
    def work():
        attempts.append(None)
        time.sleep(0.02)
        if len(attempts) <= failures:
            raise OSError("LanceError(IO): the connection was reset")
        return "done"

    return work


def test_work_that_breaks_off_after_deadline_is_retried(attempts):
    assert slow_work(attempts, failures=1)() == "done"


def test_work_that_always_breaks_off_is_given_up(attempts):
    with pytest.raises(ConnectionError, match="in 2 attempts"):
        slow_work(attempts, failures=99)()

    assert len(attempts) == 2


def test_error_that_is_not_of_the_store_is_not_retried(attempts):
    @retry_on_store_error
    def invalid():
        attempts.append(None)
        raise ValueError("there is no column of this name")

    with pytest.raises(ValueError, match="no column"):
        invalid()

    assert len(attempts) == 1
