import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fb_marketplace_serving.release.manifest import ReleaseError, manifest_path, read_manifest
from fb_marketplace_serving.release.pointer import (
    CURRENT,
    PointerState,
    current_version,
    load_pointer,
    publish,
    read_current,
    read_pointer,
    set_current,
)
from fb_marketplace_serving.storage.lake import Lake


def version(draft, name):
    return draft.model_copy(update={"version": name})


def add_manifest(root, name):
    Lake(root).create(manifest_path(name), name.encode())


@pytest.fixture(params=["disk", "S3"])
def root(request, tmp_path):
    return str(tmp_path) if request.param == "disk" else request.getfixturevalue("bucket")


def test_current_version_reads_only_the_pointer(tmp_path):
    Lake(str(tmp_path)).create(CURRENT, b'{"version": "v7"}')

    assert current_version(Lake(str(tmp_path))) == "v7"


def test_missing_pointer_is_read_as_none(tmp_path):
    assert read_pointer(Lake(str(tmp_path))) == PointerState(None, None)


@pytest.mark.parametrize("damaged", [b"", b"{}", b'{"version": "a\\n"}', b'{"version": "../x"}'])
def test_damaged_pointer_is_rejected_but_replaceable(tmp_path, damaged):
    lake = str(tmp_path)
    Lake(lake).create(CURRENT, damaged)

    with pytest.raises(ReleaseError, match="fb-serve rollback"):
        current_version(Lake(lake))
    add_manifest(lake, "v1")
    set_current(Lake(lake), "v1", read_pointer(Lake(lake)))

    assert current_version(Lake(lake)) == "v1"


def test_newer_publish_is_not_replaced(root, draft):
    publish(Lake(root), draft)
    seen = read_pointer(Lake(root))
    publish(Lake(root), version(draft, "v2"))

    with pytest.raises(ReleaseError, match=r"\bv2\b") as caught:
        set_current(Lake(root), "v1", seen)
    with pytest.raises(ReleaseError):
        publish(Lake(root), version(draft, "v3"), seen)

    assert "\n" not in str(caught.value)
    assert read_current(Lake(root)).version == "v2"
    with pytest.raises(ReleaseError, match="v3"):
        read_manifest(Lake(root), "v3")


@pytest.mark.parametrize("first", [True, False], ids=["the first", "a later"])
def test_concurrent_publish_has_one_winner(root, draft, first, monkeypatch):
    if not first:
        publish(Lake(root), draft)
    both_have_looked = threading.Barrier(2)
    create = Lake.create

    def create_together(lake, path, data):
        create(lake, path, data)
        both_have_looked.wait(30)

    monkeypatch.setattr(Lake, "create", create_together)

    def publish_one(name):
        try:
            publish(Lake(root), version(draft, name))
        except ReleaseError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(2) as threads:
        output = dict(zip("ab", threads.map(publish_one, "ab"), strict=True))

    (winner,) = (name for name, message in output.items() if message is None)
    (message,) = filter(None, output.values())
    assert read_current(Lake(root)).version == winner
    assert str(winner) in message


def test_rejected_writer_leaves_pointer_whole(lake, draft):
    for name in ("v2", "v3"):
        add_manifest(lake, name)
    seen = read_pointer(Lake(lake))
    set_current(Lake(lake), "v2", seen)

    with pytest.raises(ReleaseError):
        set_current(Lake(lake), "v3", seen)

    assert json.loads(Path(lake, CURRENT).read_bytes())["version"] == "v2"


def test_pointer_holds_the_checksum_of_the_manifest(lake):
    manifest = Path(lake, manifest_path("v1"))
    pointer = load_pointer(Lake(lake))
    assert pointer.manifest_sha256 == hashlib.sha256(manifest.read_bytes()).hexdigest()

    manifest.write_bytes(manifest.read_bytes() + b"\n")

    with pytest.raises(ReleaseError, match=r"v1\.json: found sha256"):
        read_current(Lake(lake))


def test_pointer_of_version_0_2_is_read(lake):
    Path(lake, CURRENT).write_text('{"version": "v1"}', "utf-8")

    assert read_current(Lake(lake)).version == "v1"


def test_release_without_manifest_does_not_become_current(lake):
    with pytest.raises(ReleaseError, match="v7"):
        set_current(Lake(lake), "v7", read_pointer(Lake(lake)))

    assert current_version(Lake(lake)) == "v1"
