import pytest
from kedro.io import DatasetError

from fb_marketplace.datasets.path import PathDataset
from fb_marketplace.storage.photo_source import PhotoSource


@pytest.fixture
def place(tmp_path):
    return PathDataset(f"{tmp_path}/images", "fb_marketplace.storage.photo_source.PhotoSource")


def test_loads_what_is_made_of_the_place(place, tmp_path):
    assert place.load() == PhotoSource(f"{tmp_path}/images")


def test_exists_when_the_place_says_so(place, tmp_path):
    assert not place.exists()
    (tmp_path / "images").mkdir()
    assert place.exists()


def test_nothing_is_saved_under_its_name(place):
    with pytest.raises(DatasetError):
        place.save(b"")


def test_what_opens_it_may_be_a_function_that_knows_nothing_of_existing(tmp_path):
    held = PathDataset(f"{tmp_path}/none.lance", "fb_marketplace.storage.keyed_table.existing_keys")

    assert held.load() == frozenset()
    assert held.exists()
