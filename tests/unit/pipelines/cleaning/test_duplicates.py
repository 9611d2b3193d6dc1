import pandas as pd
import pytest

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning.duplicates import find_duplicates
from fb_marketplace.schemas.cleaning import DuplicateGroups


@pytest.fixture
def groups_of(store_photos):
    """Finds copies among photos; the oldest comes first."""

    def groups_of(result, oldest_first=None):
        order = list(oldest_first or result)
        rows = pd.DataFrame({"row": range(len(order)), "image_id": order})
        return find_duplicates(store_photos(result), rows, DuplicateParameters())

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
