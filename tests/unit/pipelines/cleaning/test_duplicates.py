import numpy as np
import pandas as pd
import pytest

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning import duplicates, near_duplicates
from fb_marketplace.pipelines.cleaning.duplicates import (
    comparisons_table,
    find_duplicates,
    read_comparisons,
)
from fb_marketplace.pipelines.cleaning.near_duplicates import Comparisons
from fb_marketplace.schemas.cleaning import DuplicateGroups, PhotoComparisons


@pytest.fixture
def groups_of(store_photos):
    """Finds copies among photos; the oldest comes first."""

    def groups_of(result, oldest_first=None):
        order = list(oldest_first or result)
        rows = pd.DataFrame({"row": range(len(order)), "image_id": order})
        return find_duplicates(store_photos(result), rows, pd.DataFrame(), DuplicateParameters())[0]

    return groups_of


def test_identical_photos_are_exact_duplicates_of_the_oldest(groups_of, draw_photo):
    same = draw_photo(1)
    result = groups_of({"a": same, "b": draw_photo(2), "c": same}, oldest_first="cba")

    assert result.to_numpy().tolist() == [["a", "c", "exact"], ["c", "c", "exact"]]


def test_reencoded_photo_is_near_duplicate(groups_of, draw_photo):
    result = groups_of(
        {
            "a": draw_photo(1, (640, 480)),
            "b": draw_photo(1, (640, 480), "WEBP"),
            "c": draw_photo(2, (640, 480)),
        }
    )

    assert result.to_numpy().tolist() == [["a", "a", "near"], ["b", "a", "near"]]


def test_unrelated_photos_are_in_no_group(groups_of, draw_photo):
    assert groups_of({"a": draw_photo(1), "b": draw_photo(2)}).empty


def test_groups_match_schema_even_if_empty(groups_of, draw_photo):
    DuplicateGroups.validate(groups_of({"a": draw_photo(1)}))


@pytest.fixture
def find(store_photos, draw_photo):
    """Finds the near-duplicates among three photos, with the comparisons of an earlier run."""
    photo, copy = draw_photo(1, (640, 480)), draw_photo(1, (640, 480), "WEBP")
    images = store_photos({"a": photo, "b": copy, "c": draw_photo(2, (640, 480))})
    rows = pd.DataFrame({"row": range(3), "image_id": list("abc")})

    def find(earlier=None, parameters=None):
        earlier = pd.DataFrame() if earlier is None else earlier
        return find_duplicates(images, rows, earlier, parameters or DuplicateParameters())

    return find


def test_compared_pairs_are_not_compared_again(find, monkeypatch, tmp_path):
    groups, comparisons = find()
    PhotoComparisons.validate(comparisons)
    comparisons.to_parquet(tmp_path / "comparisons.parquet")
    monkeypatch.setattr(near_duplicates, "alignment_agreement", lambda *_: 0.0)

    result, again = find(pd.read_parquet(tmp_path / "comparisons.parquet"))

    assert find()[0].empty
    pd.testing.assert_frame_equal(result, groups)
    pd.testing.assert_frame_equal(again, comparisons)


def test_pairs_are_compared_again_with_other_parameters(find, monkeypatch):
    _, comparisons = find()
    monkeypatch.setattr(near_duplicates, "alignment_agreement", lambda *_: 0.0)

    assert find(comparisons, DuplicateParameters(min_overlap=0.6))[0].empty


def test_pairs_are_compared_again_by_other_code(find, monkeypatch):
    _, comparisons = find()
    monkeypatch.setattr(near_duplicates, "alignment_agreement", lambda *_: 0.0)
    monkeypatch.setattr(duplicates, "REVISION", 99)

    assert find(comparisons)[0].empty


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("pairs", [[], [(0, 1)], [(0, 2), (1, 2)]])
def test_comparisons_survive_their_table(tmp_path, count, pairs):
    pairs = np.array([pair for pair in pairs if max(pair) < count], dtype=np.int64).reshape(-1, 2)
    comparisons = Comparisons(list("abc"[:count]), pairs, np.linspace(0.5, 1, len(pairs)))

    table = PhotoComparisons.validate(comparisons_table(comparisons, "rule"))
    table.to_parquet(tmp_path / "comparisons.parquet")
    stored = PhotoComparisons.validate(pd.read_parquet(tmp_path / "comparisons.parquet"))
    result = read_comparisons(stored, "rule")

    assert list(result.digests) == comparisons.digests
    assert result.pairs.tolist() == comparisons.pairs.tolist()
    assert result.scores.tolist() == comparisons.scores.tolist()
    assert list(read_comparisons(stored, "another").digests) == []
