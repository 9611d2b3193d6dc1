"""Work on shards whose process has ended, until the row that ends it is known."""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from fb_marketplace.errors import UserError

Shard = TypeVar("Shard")
Result = TypeVar("Result")

MAX_REJECTED: Final = 16
"""Rejected rows of a call after which the machine is the likely cause, and not the rows."""

CRASHES: Final = frozenset(
    -number
    for number in (
        *(signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS),
        *(signal.SIGILL, signal.SIGFPE, signal.SIGTRAP),
    )
)
"""Exit codes of a process that crashed. Short memory, for example, ends it by SIGKILL instead."""

_ATTEMPTS: Final = 2
"""Attempts of a shard that cannot be split."""


class LostProcessError(Exception):
    """A process ended while it worked on a shard."""

    def __init__(self, exit_code: int | None) -> None:
        """Set the exit code of the process: the negative number of a signal; None if it is unknown."""
        super().__init__(exit_code)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Isolation(Generic[Shard, Result]):
    """Handling of shards that end their process.

    Attributes:
        split: returns the parts of a shard; fewer than two if it has one row.
        reject: returns the result of a shard of one row that crashes its process.
        name: returns the name of a shard of one row, for errors.
    """

    split: Callable[[Shard], Sequence[Shard]]
    reject: Callable[[Shard], Result]
    name: Callable[[Shard], str]


class Isolator:
    """Work on shards that have lost their process, one at a time, in ever smaller parts."""

    def __init__(self, isolation: Isolation[Any, Any] | None) -> None:
        """Set the handling; None: such a shard is an error."""
        self._isolation = isolation
        self._crashed: list[Any] = []

    def work(self, run: Callable[[Any], Any], shard: Any) -> Iterator[Any]:
        """Yield the results of the parts of a shard, except rejected rows.

        Args:
            run: returns the result of a shard, computed in a process of its own, or raises
                ``LostProcessError``.
            shard: the shard.

        Raises:
            UserError: the process of a shard that cannot be split ended each time, and not always by a
                crash, or too many crashed.
        """
        stack = [shard]
        while stack:
            part = stack.pop()
            parts = self._isolation.split(part) if self._isolation else ()
            exit_codes: list[int | None] = []
            for _ in range(1 if len(parts) > 1 else _ATTEMPTS):
                try:
                    result = run(part)
                except LostProcessError as error:
                    exit_codes.append(error.exit_code)
                else:
                    yield result
                    break
            else:
                if len(parts) > 1:
                    stack += reversed(parts)
                else:
                    self._set_aside(part, exit_codes)

    def rejections(self) -> Iterator[Any]:
        """Yield the results of the rejected rows. Call it last: none is rejected if the call fails."""
        if self._isolation:
            yield from map(self._isolation.reject, self._crashed)

    def _set_aside(self, shard: Any, exit_codes: Sequence[int | None]) -> None:
        ends = f"{_ATTEMPTS} worker processes ended ({', '.join(map(_describe, exit_codes))})"
        if self._isolation is None:
            raise UserError(
                f"{ends} while they did the same work. Free memory if it was short (`dmesg` names killed "
                "processes), then run the same command again."
            )
        name = self._isolation.name
        if not CRASHES.issuperset(exit_codes):
            raise UserError(
                f"{ends} while they worked on {name(shard)} alone. It is not rejected, since short memory "
                "is the likely cause (`dmesg` names killed processes). Free memory, on a Ray cluster raise "
                "compute.ray.memory_per_task, or remove it from the raw data, then run the same command "
                "again."
            )
        self._crashed.append(shard)
        if len(self._crashed) > MAX_REJECTED:
            raise UserError(
                f"Worker processes crashed on {len(self._crashed)} rows, {_ATTEMPTS} times on each: "
                f"{', '.join(map(name, self._crashed))}. At most {MAX_REJECTED} are rejected, since the "
                "machine or its libraries are the likely cause. Repair them, or remove these rows from the "
                "raw data, then run the same command again."
            )


def _describe(exit_code: int | None) -> str:
    """Return the name of a signal, or another exit code, as text."""
    if exit_code is None:
        return "unknown exit code"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"exit code {exit_code}"
