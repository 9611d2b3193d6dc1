"""A server refuses a release in which any byte was changed, and keeps the old one."""

import json
import random
from pathlib import Path

import pytest

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import ReleaseError, manifest_path
from fb_marketplace_serving.release.pointer import CURRENT, load_pointer, publish
from fb_marketplace_serving.storage.lake import Lake

CHANGES = 200


@pytest.fixture
def files(shop, shop_draft):
    """The pointer, the manifest and all artifacts of a release."""
    paths = {artifact.path for artifact in shop_draft.artifacts.values()}
    return [Path(shop, path) for path in (CURRENT, manifest_path("v1"), *sorted(paths))]


def changed(data, random_):
    """Change one byte to another."""
    position = random_.randrange(len(data))
    other = data[position] ^ random_.randrange(1, 256)
    return data[:position] + bytes([other]) + data[position + 1 :]


def open_current(lake):
    pointer = load_pointer(Lake(lake))
    return Release.open(lake, pointer.version, manifest_sha256=pointer.manifest_sha256)


def test_release_with_a_changed_byte_is_refused(shop, files):
    assert len(files) > 15
    random_ = random.Random(20_261_129)
    for number in range(CHANGES):
        file = files[number % len(files)]
        data = file.read_bytes()
        changed_data = changed(data, random_)
        file.write_bytes(changed_data)
        try:
            with pytest.raises(ReleaseError) as caught:
                open_current(shop)
            assert "\n" not in str(caught.value)
        finally:
            file.write_bytes(data)

    assert open_current(shop).manifest.version == "v1"


def test_pointer_changed_to_another_release_is_refused(shop, make_shop):
    """The name of the other release differs in one byte."""
    publish(Lake(shop), make_shop("v2", folder="next"))
    pointer = Path(shop, CURRENT)
    pointer.write_bytes(pointer.read_bytes().replace(b"v2", b"v1"))

    with pytest.raises(ReleaseError, match=r"v1\.json: found sha256"):
        open_current(shop)


def test_every_byte_of_the_pointer_matters(shop):
    pointer = Path(shop, CURRENT)
    data = pointer.read_bytes()
    for position in range(len(data)):
        for bit in (0, 5):
            other = data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]
            pointer.write_bytes(other)
            try:
                current = load_pointer(Lake(shop))
            except ReleaseError:
                continue
            assert current.model_dump() != json.loads(data), other
            assert current.manifest_sha256, other
