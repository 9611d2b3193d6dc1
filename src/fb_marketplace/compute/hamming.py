"""Pairs of similar 64-bit codes, without comparing all pairs.

Bit sampling for the Hamming distance: P. Indyk and R. Motwani, "Approximate Nearest Neighbors: Towards
Removing the Curse of Dimensionality", 1998. Two codes are compared if they are equal in a sample of their
bits, the key. Several samples miss few similar pairs.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

KEY_BITS: Final = 16
"""Number of bits of a key. NumPy sorts 16-bit numbers in linear time."""

_CODE_BYTES: Final = 8
_CHUNK_SIZE: Final = 1 << 18  # comparisons at a time; they stay in the cache of a core
_CHUNKS_PER_BATCH: Final = 64
_MIN_LARGE_BUCKET: Final = 1 << 11  # comparisons; smaller buckets are compared many at a time

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


class BitSample:
    """A sample of the bits of a code.

    Attributes:
        mask: the sampled bits.
    """

    def __init__(self, bits: Sequence[int]) -> None:
        """Select the bits.

        Args:
            bits: ``KEY_BITS`` different bits, numbered as ``np.unpackbits`` orders those of a code's bytes.
        """
        values = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.uint16)
        self._keys = np.zeros((_CODE_BYTES, 256), dtype=np.uint16)
        sampled = np.zeros(8 * _CODE_BYTES, dtype=np.uint8)
        for position, bit in enumerate(bits):
            self._keys[bit // 8] |= values[:, bit % 8] << np.uint16(position)
            sampled[bit] = 1
        self.mask: np.uint64 = np.packbits(sampled).view("<u8")[0]

    def keys(self, codes: NDArray[np.uint64]) -> NDArray[np.uint16]:
        """Return the key of each code: uint16, (n,)."""
        code_bytes = codes.astype("<u8", copy=False).view(np.uint8).reshape(-1, _CODE_BYTES)
        keys = np.zeros(len(codes), dtype=np.uint16)
        for byte in np.flatnonzero(self._keys.any(axis=1)):
            keys |= self._keys[byte, code_bytes[:, byte]]
        return keys


class Buckets:
    """Codes in buckets of equal keys.

    Attributes:
        codes: uint64, (n,), bucket after bucket.
        positions: int64, (n,), their positions before sorting.
        sizes: int64, (65,536,), number of codes in the bucket of each key.
        starts: int64, (65,536,), start of each bucket.
    """

    def __init__(self, codes: NDArray[np.uint64], sample: BitSample) -> None:
        """Sort codes by key.

        Args:
            codes: uint64, (n,).
            sample: the bits that form the key.
        """
        keys = sample.keys(codes)
        self.positions = np.argsort(keys, kind="stable")
        self.codes = codes[self.positions]
        self.sizes = np.bincount(keys, minlength=1 << KEY_BITS)
        self.starts = np.cumsum(self.sizes) - self.sizes


def similar_codes(queries: Buckets, codes: Buckets, max_distance: int) -> Iterator[Pairs]:
    """Yield the pairs of codes in equal buckets that differ in at most ``max_distance`` bits.

    Args:
        queries: buckets of codes.
        codes: buckets of codes, by the same sample of bits.
        max_distance: maximum Hamming distance.

    Yields:
        Positions of queries, and the positions of their codes: int64, (pairs,) each.
    """
    comparisons = queries.sizes * codes.sizes
    is_large = comparisons >= _MIN_LARGE_BUCKET
    for pairs in (
        _compare_large(queries, codes, np.flatnonzero(is_large), max_distance),
        _compare_small(queries, codes, ~is_large, max_distance),
    ):
        while batch := list(islice(pairs, _CHUNKS_PER_BATCH)):
            ones, others = (np.concatenate(column) for column in zip(*batch, strict=True))
            yield queries.positions[ones], codes.positions[others]


def _compare_large(
    queries: Buckets, codes: Buckets, keys: NDArray[np.int64], max_distance: int
) -> Iterator[Pairs]:
    """Compare each query of a bucket with each code, bucket by bucket."""
    for key in keys.tolist():
        first, start, size = queries.starts[key], codes.starts[key], codes.sizes[key]
        bucket = codes.codes[None, start : start + size]
        step = max(1, _CHUNK_SIZE // int(size))
        for one in range(first, first + queries.sizes[key], step):
            block = queries.codes[one : min(one + step, first + queries.sizes[key]), None]
            near = np.flatnonzero(np.bitwise_count(block ^ bucket) <= max_distance)
            if len(near):
                yield one + near // size, start + near % size


def _compare_small(
    queries: Buckets, codes: Buckets, is_small: NDArray[np.bool_], max_distance: int
) -> Iterator[Pairs]:
    """Compare the queries of many buckets at a time."""
    keys = np.flatnonzero(is_small & (queries.sizes > 0) & (codes.sizes > 0))
    ones = _ranges(queries.starts[keys], queries.sizes[keys])
    starts = np.repeat(codes.starts[keys], queries.sizes[keys])
    sizes = np.repeat(codes.sizes[keys], queries.sizes[keys])
    ends = np.cumsum(sizes)
    if not len(ends):
        return
    # Each chunk has whole queries; none has more than `_MIN_LARGE_BUCKET` codes.
    borders = np.searchsorted(ends, np.arange(0, ends[-1] + _CHUNK_SIZE, _CHUNK_SIZE), "right")
    for begin, end in pairwise(borders):
        rows = slice(begin, end)
        query = np.repeat(ones[rows], sizes[rows])
        code = _ranges(starts[rows], sizes[rows])
        near = np.flatnonzero(
            np.bitwise_count(queries.codes[query] ^ codes.codes[code]) <= max_distance
        )
        yield query[near], code[near]


def _ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers ``start`` to ``start + size - 1`` of each range, concatenated."""
    offsets = np.cumsum(sizes) - sizes
    return np.repeat(starts - offsets, sizes) + np.arange(sizes.sum())
