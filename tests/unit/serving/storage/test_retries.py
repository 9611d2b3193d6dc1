import random
from types import SimpleNamespace

import pytest

from fb_marketplace_serving.storage import retries
from fb_marketplace_serving.storage.retries import RETRY_DEADLINE_S, Retries, RetryPolicy
from fb_marketplace_serving.storage.s3 import S3_POLICY

POLICY = RetryPolicy(max_attempts=4, min_attempts=2, first_wait_s=0.5, max_wait_s=1.5)


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds; waits are as long as their bound."""
    clock = [0.0]
    monkeypatch.setattr(retries, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(retries.random, "uniform", lambda low, high: high)
    return clock


def test_next_wait_doubles_up_to_its_bound(clock):
    attempts = Retries(POLICY)

    assert [attempts.next_wait() for _ in range(4)] == [1.0, 1.5, 1.5, None]


def test_next_wait_after_deadline_is_none(clock):
    attempts = Retries(POLICY)
    clock[0] = RETRY_DEADLINE_S

    assert [attempts.next_wait() for _ in range(2)] == [1.0, None]


def test_next_wait_with_own_deadline_uses_it(clock):
    attempts = Retries(POLICY)
    attempts.next_wait(1.0)

    assert attempts.next_wait(1.0) is None


def test_give_up_counts_attempts_and_seconds(clock):
    attempts = Retries(POLICY)
    attempts.next_wait()
    clock[0] = 12.0

    assert "in 1 attempts over 12 s (SlowDown)" in str(attempts.give_up("SlowDown"))


@pytest.mark.parametrize("seed", range(100))
def test_s3_that_refuses_at_once_is_tried_until_the_deadline(clock, monkeypatch, seed):
    monkeypatch.setattr(retries.random, "uniform", random.Random(seed).uniform)
    attempts = Retries(S3_POLICY)

    while (wait := attempts.next_wait()) is not None:
        clock[0] += wait

    assert RETRY_DEADLINE_S - S3_POLICY.max_wait_s <= clock[0] <= RETRY_DEADLINE_S
