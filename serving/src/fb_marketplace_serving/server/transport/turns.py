"""Turns of clients on the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

CALLS_PER_TURN: Final = 4
"""Calls in one turn of the event loop. Each takes up to a millisecond."""


class FairTurns:
    """Calls of several clients, who take turns. Not thread-safe: use from one event loop.

    The event loop handles all input that has arrived before any other work. If a thousand requests arrived
    at once, it would handle all of them before the next search continues.
    """

    def __init__(self, calls: int = CALLS_PER_TURN, pause_seconds: float = 0.0) -> None:
        """Prepare the first turn.

        Args:
            calls: calls in one turn.
            pause_seconds: time between turns; 0 for one turn of the event loop.
        """
        self._calls: dict[str, deque[Callable[[], bool | None]]] = {}
        self._max_calls = self._left = calls
        self._pause_seconds = pause_seconds
        self._is_scheduled = False

    def run(self, client: str, call: Callable[[], bool | None]) -> None:
        """Run a call now if few calls have run in this turn, else when it is the client's turn.

        Args:
            client: name of the client.
            call: starts the work. If it returns False, there was none, and the next call follows at once.
        """
        if self._calls or not self._left:
            self._calls.setdefault(client, deque()).append(call)
        else:
            self._left -= 1
            call()
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            loop = asyncio.get_running_loop()
            if self._pause_seconds:
                loop.call_later(self._pause_seconds, self._start_turn)
            else:
                loop.call_soon(self._start_turn)

    def _start_turn(self) -> None:
        self._left, self._is_scheduled = self._max_calls, False
        while self._calls and self._left:
            client = next(iter(self._calls))
            calls = self._calls.pop(client)
            call = calls.popleft()
            if calls:
                self._calls[client] = calls  # at the end
            self._left -= 1
            self._schedule()
            if call() is False:
                self._left += 1
