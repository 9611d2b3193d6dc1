import numpy as np
import pytest

from fb_marketplace.pipelines.pricing import comparable_listings as module
from fb_marketplace.pipelines.pricing.comparable_listings import Kinds, find_comparable_listings


def circle(*angles):
    turned = np.radians(angles)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def comparables(angles, *, market=0, path=None, family=None, most=3, same_path=0.0, least=-1.0):
    count = len(angles)
    kinds = Kinds(
        np.broadcast_to(np.int32(market), count),
        np.arange(count, dtype=np.int32) if path is None else np.int32(path),
        np.arange(count, dtype=np.int32) if family is None else np.int32(family),
    )
    return find_comparable_listings(circle(*angles), kinds, most, same_path, least)


def test_most_similar_are_first_without_itself():
    similar = comparables([0, 10, 30, 60])

    assert similar.rows.tolist() == [[1, 2, 3], [0, 2, 3], [1, 0, 3], [2, 1, 0]]
    assert similar.similarity[0] == pytest.approx(np.cos(np.radians([10, 30, 60])), abs=1e-6)


def test_missing_comparables_are_minus_one():
    similar = comparables([0, 10], most=3)

    assert similar.rows.tolist() == [[1, -1, -1], [0, -1, -1]]
    assert np.isnan(similar.similarity[:, 1:]).all()


def test_comparables_are_of_the_same_market():
    assert comparables([0, 1, 2, 3], market=[0, 1, 0, 1]).rows[:, 0].tolist() == [2, 3, 0, 1]


def test_own_family_is_excluded():
    assert comparables([0, 1, 2, 30], family=[7, 7, 7, 8]).rows[0].tolist() == [3, -1, -1]


def test_other_family_counts_once():
    assert comparables([0, 5, 4, 30], family=[0, 1, 1, 2], most=2).rows[0].tolist() == [2, 3]


def test_shared_path_increases_similarity():
    angles, paths = [0, 20, 25], [1, 2, 1]

    assert comparables(angles, path=paths).rows[0, 0] == 1
    similar = comparables(angles, path=paths, same_path=0.1)
    assert similar.rows[0, :2].tolist() == [2, 1]
    assert similar.similarity[0, 0] == pytest.approx(np.cos(np.radians(25)) + 0.1, abs=1e-6)


def test_similarity_below_minimum_is_excluded():
    assert comparables([0, 10, 80], least=0.9).rows.tolist() == [
        [1, -1, -1],
        [0, -1, -1],
        [-1, -1, -1],
    ]


def test_equally_similar_listings_are_in_order(monkeypatch):
    monkeypatch.setattr(module, "MAX_CANDIDATES", 1)

    assert comparables([0, 5, 5, 5, 5, 0], most=2).rows[[0, 5]].tolist() == [[5, 1], [0, 1]]


def test_large_market_is_compared_by_cluster(monkeypatch):
    angles = np.random.default_rng(0).uniform(0, 360, 400)
    exact = comparables(angles)

    monkeypatch.setattr(module, "MAX_COMPARED", 120)
    monkeypatch.setattr(module, "CLUSTER_SIZE", 20)
    clustered = comparables(angles)

    assert np.mean(clustered.rows == exact.rows) > 0.98
    assert (clustered.rows >= 0).all()


def test_blocks_of_listings_equal_one_block(monkeypatch):
    random = np.random.default_rng(0)
    angles, values = random.uniform(0, 360, 60), {"market": random.integers(0, 3, 60)}
    values["family"] = random.integers(0, 40, 60)
    complete = comparables(angles, **values)

    monkeypatch.setattr(module, "SIMILARITY_BATCH_SIZE", 50)

    in_blocks = comparables(angles, **values)
    assert np.array_equal(in_blocks.rows, complete.rows)
    assert np.allclose(in_blocks.similarity, complete.similarity, equal_nan=True)
