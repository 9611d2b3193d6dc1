"""Who may ask, and how often."""

import hashlib
import hmac
import math
import time
from collections.abc import Mapping
from typing import Final

ANONYMOUS: Final = "anyone"
"""The name of whoever asks a server that has no keys."""


class Keys:
    """The keys that are accepted, by their names. Holds digests, not the keys."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._digests = {name: _digest(key) for name, key in keys.items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def name_of(self, key: str) -> str | None:
        """Say whose key it is. Takes as long for a wrong one, however much of it is right."""
        asked = _digest(key)
        found = None
        for name, digest in self._digests.items():
            if hmac.compare_digest(asked, digest):
                found = name
        return found


class RateLimit:
    """How many requests each name may make in a time, over a moving window."""

    def __init__(self, rate: str) -> None:
        """Take a rate such as ``600/minute``, as the package ``limits`` reads it."""
        from limits import parse
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        self._rate = parse(rate)
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def __str__(self) -> str:
        return str(self._rate)

    def hit(self, name: str) -> int | None:
        """Count a request; where it is one too many, give the seconds until there may be another."""
        if self._window.hit(self._rate, name):
            return None
        reset, _ = self._window.get_window_stats(self._rate, name)
        return max(1, math.ceil(reset - time.time()))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
