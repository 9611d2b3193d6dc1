"""API keys and rate limits."""

import hashlib
import hmac
import math
import time
from collections.abc import Mapping
from ipaddress import IPv6Address, IPv6Network
from typing import Final

ANONYMOUS: Final = "anyone"
"""Client name on a server without keys."""


class Keys:
    """Accepted API keys by client name. Stores digests, not keys."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._digests = {name: _digest(key) for name, key in keys.items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def client_name(self, key: str) -> str | None:
        """Return the client name of a key, or None if it is unknown. Takes constant time."""
        digest = _digest(key)
        client = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                client = name
        return client


class RateLimit:
    """Number of requests that each client may make within a moving window."""

    def __init__(self, rate: str) -> None:
        """Parse a rate such as ``600/minute`` with the ``limits`` package."""
        from limits import parse
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        self._rate = parse(rate)
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def __str__(self) -> str:
        return str(self._rate)

    def hit(self, client: str) -> int | None:
        """Count a request.

        Returns:
            None if it is within the limit, else the seconds until the next request is allowed.
        """
        if self._window.hit(self._rate, client):
            return None
        reset, _ = self._window.get_window_stats(self._rate, client)
        return max(1, math.ceil(reset - time.time()))


def network_of(host: str) -> str:
    """Return the address of a client. For IPv6, its network: a client has all addresses of a /64."""
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host)
    except ValueError:
        return host
    return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
