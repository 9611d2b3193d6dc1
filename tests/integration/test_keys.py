"""Roots and keys in every form that users have: the photos are found, and the server finds their ids."""

from collections.abc import Iterator, Mapping

import pytest
from support import moto_server
from support.builders.photo_bucket import photo_bucket
from support.kedro_project import PROJECT, Place
from support.seaweed import Seaweed

from fb_marketplace.storage.photo_source import PhotoSource
from fb_marketplace_serving.storage.lake import Lake

KEYS = {
    "double": "/double.jpg",
    "triple": "//triple.jpg",
    "inner": "sub//inner.jpg",
    "dotted": "./dotted.jpg",
    "hash#1": "hash#1.jpg",
    "question?2": "question?2.jpg",
    "version?versionId=3": "version?versionId=3.jpg",
    "per%2Fcent": "per%2Fcent.jpg",
    "spa ce+plus": "spa ce+plus.jpg",
    "café": "cafe\u0301.jpg",
    "star[1]*": "star[1]*.jpg",
    "shop/1": "shop/1.jpg",
    "shop/2": "shop%2F2.jpg",
    "shop/sub dir/3": "shop%2Fsub%20dir%2F3.jpg",
    "back\\slash": "back\\slash.jpg",
}
"""Key of each photo below ``images/``, by image id."""

MARKERS = ("", "images/", "images/sub/", "images_$folder$", "images/sub_$folder$", "Assets/")

IDS = {"inner": "sub/inner"}


@pytest.fixture(scope="module")
def moto() -> Iterator[Seaweed]:
    with moto_server.running() as server:
        yield server


def bucket(draw_photo, keys: Mapping[str, str] = KEYS) -> dict[str, bytes]:
    return photo_bucket(
        {
            IDS.get(name, name): (key, draw_photo(number))
            for number, (name, key) in enumerate(keys.items())
        }
    )


PLAIN_KEYS = {
    name: key
    for name, key in KEYS.items()
    if name not in ("double", "triple", "dotted", "back\\slash")
}
"""Keys that a disk and SeaweedFS keep as well."""


def check_all_photos_read(place: Place, keys: Mapping[str, str] = KEYS) -> None:
    version = place.run("--pipeline=cleaning")

    files = place.json("cleaning_report", version)["ledger"]["files"]
    assert (files["in"], files["kept"]) == (len(keys), len(keys))
    image_ids = {IDS.get(name, name) for name in keys}
    assert set(place.table("image_products", version)["image_id"]) == image_ids


def test_odd_keys_folder_markers_and_slash_of_root(moto, draw_photo, tmp_path):
    root = f"{moto.make_bucket('odd-keys')}/raw"
    for key, data in bucket(draw_photo).items():
        moto.put(f"{root}/{key}", data)
    for marker in MARKERS:
        moto.put(f"{root}/{marker}", b"")

    check_all_photos_read(Place(PROJECT, f"{root}/", str(tmp_path / "lake"), moto.environment))


@pytest.mark.slow
def test_keys_in_seaweedfs_and_another_scheme(seaweed, draw_photo, tmp_path):
    root = f"{seaweed.make_bucket('odd-keys')}/raw"
    for key, data in bucket(draw_photo, PLAIN_KEYS).items():
        seaweed.put(f"{root}/{key}", data)
    url = root.replace("s3://", "s3a://")

    place = Place(PROJECT, f"{url}///", str(tmp_path / "lake"), seaweed.environment)
    check_all_photos_read(place, PLAIN_KEYS)


@pytest.mark.slow
def test_file_url_and_slash_of_local_lake(draw_photo, tmp_path):
    raw = tmp_path / "my raw"
    for key, data in bucket(draw_photo, PLAIN_KEYS).items():
        path = raw / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    check_all_photos_read(Place(PROJECT, raw.as_uri(), f"{tmp_path}/my lake/"), PLAIN_KEYS)


def test_marker_of_a_folder_in_the_lake_is_not_a_file(moto, become):
    become(moto.environment)
    lake = Lake(f"{moto.make_bucket('marked-lake')}//lake/")
    lake.create("runs/a.json", b"{}")
    lake.create("runs//b.json", b"{}")
    for marker in ("runs/", "runs/sub/", "runs_$folder$", ""):
        moto.put(f"{lake.url}/{marker}", b"")

    assert lake.url == "s3://marked-lake//lake"
    assert lake.sizes("runs") == {"a.json": 2}
    assert list(lake.find("runs")) == ["runs//b.json", "runs/a.json"]
    assert lake.read("runs//b.json") == b"{}"


def test_object_with_bytes_is_a_file_whatever_its_name(moto, become):
    become(moto.environment)
    root = moto.make_bucket("not-markers")
    for key in ("a.jpg/", "b_$folder$", "c/d.jpg"):
        moto.put(f"{root}/images/{key}", b"photo")
    photos = PhotoSource(f"{root}/images/")

    assert [file.key for file in photos.files()] == ["a.jpg/", "b_$folder$", "c/d.jpg"]
    assert photos.fetch(photos.files()) == [b"photo"] * 3
