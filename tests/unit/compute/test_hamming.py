import numpy as np
import pytest

from fb_marketplace.compute import hamming
from fb_marketplace.compute.hamming import BitSample, Buckets, similar_codes

SAMPLE = BitSample(range(0, 64, 4))


def pairs_of(queries, codes, max_distance, sample=SAMPLE):
    batches = similar_codes(Buckets(queries, sample), Buckets(codes, sample), max_distance)
    return sorted(pair for ones, others in batches for pair in zip(ones, others, strict=True))


def expected(queries, codes, max_distance, sample=SAMPLE):
    changes = queries[:, None] ^ codes
    near = (np.bitwise_count(changes) <= max_distance) & (changes & sample.mask == 0)
    return [tuple(pair) for pair in np.argwhere(near)]


def noisy(count, seed, share=0.05):
    random = np.random.default_rng(seed)
    origin = np.random.default_rng(7).integers(0, 2**64, 6, dtype=np.uint64)
    noise = np.packbits(random.random((count, 64)) < share, axis=-1).view(np.uint64)[:, 0]
    return origin[random.integers(0, 6, count)] ^ noise


@pytest.mark.parametrize("min_large_bucket", [1, 50, 1 << 30])
@pytest.mark.parametrize("chunk_size", [16, 1 << 18])
def test_pairs_are_those_of_all_comparisons(monkeypatch, min_large_bucket, chunk_size):
    monkeypatch.setattr(hamming, "_MIN_LARGE_BUCKET", min_large_bucket)
    monkeypatch.setattr(hamming, "_CHUNK_SIZE", chunk_size)
    queries, codes = noisy(300, 1), noisy(500, 2)

    result = pairs_of(queries, codes, 6)

    assert len(result) > 300
    assert result == expected(queries, codes, 6)


@pytest.mark.parametrize(("queries", "codes"), [(0, 0), (0, 9), (9, 0)])
def test_no_codes_give_no_pairs(queries, codes):
    assert pairs_of(noisy(queries, 1), noisy(codes, 2), 64) == []


def test_sample_masks_the_bits_of_its_keys():
    bits = [0, 1, 2, 3, 9, 17, 18, 19, 33, 40, 41, 42, 50, 51, 62, 63]
    sample = BitSample(bits)
    codes = noisy(50, 3, share=0.5)

    bytes_of_codes = np.unpackbits(codes.view(np.uint8).reshape(-1, 8), axis=1)
    same = (bytes_of_codes[:, None, bits] == bytes_of_codes[:, bits]).all(axis=-1)

    assert np.bitwise_count(sample.mask) == len(bits)
    assert (((codes[:, None] ^ codes) & sample.mask == 0) == same).all()
    assert ((sample.keys(codes)[:, None] == sample.keys(codes)) == same).all()
