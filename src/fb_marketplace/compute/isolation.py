"""Work on shards whose process has ended, until the row that ends it is known."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from fb_marketplace.errors import UserError

Shard = TypeVar("Shard")
Result = TypeVar("Result")

MAX_REJECTED: Final = 16
"""Rejected rows of a call after which the machine is the likely cause, and not the rows."""

_ATTEMPTS: Final = 2
"""Attempts of a shard that cannot be split."""


class LostProcessError(Exception):
    """A process ended while it worked on a shard, for example by a signal."""


@dataclass(frozen=True)
class Isolation(Generic[Shard, Result]):
    """Handling of shards that end their process.

    Attributes:
        split: returns the parts of a shard; fewer than two if it has one row.
        reject: returns the result of a shard of one row.
    """

    split: Callable[[Shard], Sequence[Shard]]
    reject: Callable[[Shard], Result]


class Isolator:
    """Works on shards that have lost their process, one at a time, in ever smaller parts."""

    def __init__(self, isolation: Isolation[Any, Any] | None) -> None:
        """Set the handling; None: such a shard is an error."""
        self._isolation = isolation
        self._rejected = 0

    def work(self, run: Callable[[Any], Any], shard: Any) -> Iterator[Any]:
        """Yield the results of the parts of a shard, rejected rows included.

        Args:
            run: returns the result of a shard, computed in a process of its own, or raises
                ``LostProcessError``.
            shard: the shard.

        Raises:
            UserError: a shard that cannot be split ended its process each time, or too many did.
        """
        stack = [shard]
        while stack:
            part = stack.pop()
            parts = self._isolation.split(part) if self._isolation else ()
            done, result = _attempt(run, part, 1 if len(parts) > 1 else _ATTEMPTS)
            if done:
                yield result
            elif len(parts) > 1:
                stack += reversed(parts)
            else:
                yield self._reject(part)

    def _reject(self, shard: Any) -> Any:
        self._rejected += 1
        if self._isolation is None or self._rejected > MAX_REJECTED:
            raise UserError(
                f"Worker processes ended {_ATTEMPTS} times on the same work, in {self._rejected} cases. "
                "Check that memory is not short (`dmesg` names killed processes), then run the same "
                "command again."
            )
        return self._isolation.reject(shard)


def _attempt(run: Callable[[Any], Any], shard: Any, attempts: int) -> tuple[bool, Any]:
    """Return whether an attempt succeeded, and its result."""
    for _ in range(attempts):
        try:
            return True, run(shard)
        except LostProcessError:
            continue
    return False, None
