"""Retries of storage operations, bounded in number and time, with random waits between them."""

import random
import time
from dataclasses import dataclass
from typing import Final

RETRY_DEADLINE_S: Final = 20.0
"""Four times the read timeout, so that a run whose store hangs stops within a minute."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to retry and when to give up.

    Attributes:
        max_attempts: the limit, however fast the attempts fail.
        min_attempts: attempts that the deadline does not stop: a transfer that takes longer than the
            deadline and then breaks off is started again.
        first_wait_s: bound of the first wait; each further bound is twice the one before. A wait is drawn
            at random from zero to its bound, so that clients that failed together do not return together.
        max_wait_s: the largest bound.
        deadline_s: seconds after which no attempt starts.
    """

    max_attempts: int
    min_attempts: int
    first_wait_s: float
    max_wait_s: float = 4.0
    deadline_s: float = RETRY_DEADLINE_S


class Retries:
    """The attempts of one operation."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first attempt started."""
        return time.monotonic() - self._started

    def next_wait(self, deadline_s: float | None = None) -> float | None:
        """Count a failed attempt.

        Args:
            deadline_s: the deadline for this kind of failure, if not the policy's.

        Returns:
            Seconds to wait before the next attempt; None to give up.
        """
        policy = self._policy
        self._failures += 1
        wait = random.uniform(0, min(policy.max_wait_s, policy.first_wait_s * 2**self._failures))
        deadline = policy.deadline_s if deadline_s is None else deadline_s
        is_late = self.elapsed_s + wait > deadline
        if self._failures >= policy.max_attempts or (
            is_late and self._failures >= policy.min_attempts
        ):
            return None
        return wait

    def give_up(self, reason: str) -> ConnectionError:
        """Build the error of an operation that failed in all its attempts.

        Args:
            reason: the last failure, in one line.
        """
        return ConnectionError(
            f"no answer in {self._failures} attempts over {self.elapsed_s:.0f} s ({reason}); rerun when "
            "the store answers, finished work is not repeated"
        )
