import pytest
from kedro.io import DatasetError

from fb_marketplace.datasets.path import PathDataset


@pytest.fixture
def place(tmp_path):
    return PathDataset(f"{tmp_path}/images", "fb_marketplace.storage.photo_source.PhotoSource")


def test_load_returns_opened_object(place, tmp_path):
    assert place.load().url == f"{tmp_path}/images"


def test_exists_asks_the_object(place, tmp_path):
    assert not place.exists()
    (tmp_path / "images").mkdir()
    assert place.exists()


def test_save_is_rejected(place):
    with pytest.raises(DatasetError):
        place.save(b"")


def test_opener_may_be_a_function(tmp_path):
    existing = PathDataset(
        f"{tmp_path}/none.lance", "fb_marketplace.storage.keyed_table.existing_keys"
    )

    assert existing.load() == frozenset()
    assert existing.exists()
