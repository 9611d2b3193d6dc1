import numpy as np
import pytest

from fb_marketplace.lifecycle import pattern_search
from fb_marketplace.lifecycle.pattern_search import PatternSearch


@pytest.mark.parametrize("letters", [b"ab", b"abcdefgh0123456789"])
@pytest.mark.parametrize("seed", range(20))
def test_finds_what_plain_search_finds(letters, seed, monkeypatch):
    monkeypatch.setattr(pattern_search, "_CHUNK_BYTES", 50)
    rng = np.random.default_rng(seed)

    def text(size):
        return bytes(rng.choice(list(letters), size).astype(np.uint8))

    data = text(700)
    starts = rng.integers(0, 690, 20)
    patterns = {data[start : start + rng.integers(1, 120)] for start in starts}
    patterns |= {text(size) for size in rng.integers(1, 90, 20)}

    result = PatternSearch(patterns).find(data)

    assert result == {pattern for pattern in patterns if pattern in data}
    assert len(result) >= 15


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 65, 66])
def test_finds_a_pattern_that_is_all_of_the_bytes(size):
    data = bytes(range(100, 100 + size))

    assert PatternSearch([data or b"x"]).find(data) == ({data} if data else set())


def test_overlapping_patterns_are_all_found():
    patterns = [b"aaaaaaaa", b"aaaaaaaaa", b"baaaaaaaa", b"a" * 100]

    assert PatternSearch(patterns).find(b"b" + b"a" * 99) == set(patterns[:3])
