"""Retries of storage operations, limited in number and time, with random waits (exponential backoff)."""

import random
import time
from dataclasses import dataclass
from typing import Final

RETRY_DEADLINE_S: Final = 20.0
"""Default deadline: four times the read timeout, so that a run stops within a minute if its store hangs."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to retry and when to give up.

    Attributes:
        max_attempts: maximum number of attempts.
        min_attempts: attempts that are made even after the deadline. A transfer that fails after the
            deadline is therefore still retried.
        first_wait_s: half the maximum of the first wait. The maximum doubles with each failure. A wait is
            drawn at random between zero and its maximum, so that clients that failed together do not
            retry together.
        max_wait_s: upper limit of a wait.
        deadline_s: seconds after which no attempt starts, except the first ``min_attempts``.
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
            deadline_s: the deadline for this kind of failure; None for the policy's.

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
        """Return the error of an operation that failed in all its attempts.

        Args:
            reason: the last failure, in one line.
        """
        return ConnectionError(
            f"storage failed in {self._failures} attempts over {self.elapsed_s:.0f} s ({reason}); rerun "
            "when it is available, completed work is not repeated"
        )
