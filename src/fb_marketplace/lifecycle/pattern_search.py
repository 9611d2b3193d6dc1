"""Search of bytes for thousands of patterns at once."""

from collections.abc import Iterable
from typing import Final

import numpy as np

_ANCHOR_BYTES: Final = 8
_LONG_BYTES: Final = 64
_CHUNK_BYTES: Final = 1024 * 1024


class PatternSearch:
    """Finds which of many patterns occur in bytes, in a time that hardly depends on their number.

    Eight bytes of each pattern are its anchor: its last ones, since ids begin alike, or the middle of a
    photo, since photos begin and end alike. Positions where the first pair of bytes of any anchor occurs,
    then the second pair, and so on, are compared with the patterns of that anchor.
    """

    def __init__(self, patterns: Iterable[bytes]) -> None:
        """Prepare a search for patterns. No pattern may be empty."""
        patterns = frozenset(patterns)
        self.longest = max(map(len, patterns), default=0)
        self._short = [pattern for pattern in patterns if len(pattern) < _ANCHOR_BYTES]
        self._by_anchor: dict[bytes, list[tuple[int, bytes]]] = {}
        self._pairs = np.zeros((_ANCHOR_BYTES // 2, 1 << 16), dtype=bool)
        for pattern in patterns.difference(self._short):
            offset = len(pattern) // 2 if len(pattern) > _LONG_BYTES else len(pattern)
            offset = min(offset, len(pattern) - _ANCHOR_BYTES)
            anchor = pattern[offset : offset + _ANCHOR_BYTES]
            self._by_anchor.setdefault(anchor, []).append((offset, pattern))
            for pair in range(len(self._pairs)):
                self._pairs[pair, int.from_bytes(anchor[2 * pair : 2 * pair + 2], "big")] = True

    def find(self, data: bytes) -> set[bytes]:
        """Return the patterns that occur in bytes."""
        result = {pattern for pattern in self._short if pattern in data}
        if self._by_anchor:
            for start in range(0, len(data), _CHUNK_BYTES):
                for position in self._candidates(data, start).tolist():
                    anchor = data[position : position + _ANCHOR_BYTES]
                    for offset, pattern in self._by_anchor.get(anchor, ()):
                        if position >= offset and data.startswith(pattern, position - offset):
                            result.add(pattern)
        return result

    def _candidates(self, data: bytes, start: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Return the positions of a chunk where an anchor may begin."""
        size = min(_CHUNK_BYTES + _ANCHOR_BYTES - 1, len(data) - start)
        values = np.frombuffer(data, dtype=np.uint8, count=size, offset=start)
        pairs = values[:-1].astype(np.uint16) << 8 | values[1:]
        positions = np.flatnonzero(self._pairs[0][pairs[: max(0, size - _ANCHOR_BYTES + 1)]])
        for pair in range(1, len(self._pairs)):
            positions = positions[self._pairs[pair][pairs[positions + 2 * pair]]]
        return positions + start
