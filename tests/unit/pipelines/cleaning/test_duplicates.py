import pandas as pd
import pytest

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning.duplicates import find_duplicates
from fb_marketplace.schemas.cleaning import DuplicateGroups


@pytest.fixture
def groups_of(store_photos):
    """Finds copies among photos; the oldest comes first."""

    def groups_of(found, oldest_first=None):
        order = list(oldest_first or found)
        rows = pd.DataFrame({"row": range(len(order)), "image_id": order})
        return find_duplicates(store_photos(found), rows, DuplicateParameters())

    return groups_of


def test_photos_of_the_same_bytes_are_exact_copies_named_for_the_oldest(groups_of, draw_photo):
    same = draw_photo(1)
    found = groups_of({"a": same, "b": draw_photo(2), "c": same}, oldest_first="cba")

    assert found.to_numpy().tolist() == [["a", "c", "exact"], ["c", "c", "exact"]]


def test_a_photo_encoded_anew_is_a_near_copy(groups_of, draw_photo):
    found = groups_of(
        {
            "a": draw_photo(1, (640, 480)),
            "b": draw_photo(1, (640, 480), "WEBP"),
            "c": draw_photo(2, (640, 480)),
        }
    )

    assert found.to_numpy().tolist() == [["a", "a", "near"], ["b", "a", "near"]]


def test_photos_of_nothing_in_common_are_in_no_group(groups_of, draw_photo):
    assert groups_of({"a": draw_photo(1), "b": draw_photo(2)}).empty


def test_the_groups_fit_the_schema_even_when_there_are_none(groups_of, draw_photo):
    DuplicateGroups.validate(groups_of({"a": draw_photo(1)}))
