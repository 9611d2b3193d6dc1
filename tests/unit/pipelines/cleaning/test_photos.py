import io
import os
import signal
import struct
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from fb_marketplace.parameters.cleaning import DisplayParameters
from fb_marketplace.pipelines.cleaning.photos import (
    image_product_ids,
    quarantine_unusable_photos,
    read_photos,
)
from fb_marketplace.schemas.lance import REJECTED_PHOTOS
from fb_marketplace.schemas.reasons import Reason
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.keyed_table import KeepOnly
from fb_marketplace.storage.photo_source import FetchFailure, PhotoSource
from fb_marketplace_serving.imaging import canonical


class Watched:
    """A folder that records the requested files."""

    def __init__(self, url):
        self.folder, self.asked = PhotoSource(url), []

    def fetch(self, files):
        self.asked += [file.key for file in files]
        return self.folder.fetch(files)


class Crashing(PhotoSource):
    """A folder with a file that ends the process that reads it, as a crash of a decoder does."""

    def fetch(self, files):
        if "crash.jpg" in {file.key for file in files}:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().fetch(files)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    return Watched(str(tmp_path / "images"))


@pytest.fixture
def matched(folder):
    """Writes files, and gives the rows that vouch for them."""

    def matched(**files):
        for name, content in files.items():
            (Path(folder.folder.url) / f"{name}.jpg").write_bytes(content)
        etags = {file.key: file.etag for file in folder.folder.files()}
        return pd.DataFrame(
            {
                "row": range(len(files)),
                "image_id": list(files),
                "product_id": [f"p of {name}" for name in files],
                "repeated_in": [[] for _ in files],
                "source_key": [f"{name}.jpg" for name in files],
                "source_size": [len(content) for content in files.values()],
                "source_etag": [etags[f"{name}.jpg"] for name in files],
            }
        )

    return matched


@pytest.fixture
def one_process(changed, cleaning):
    return changed("photos", **cleaning.photos.model_dump() | {"processes": 1})


def read(matched_photos, folder, parameters, images=frozenset(), unusable=frozenset()):
    """Read photos without renditions."""
    without = parameters.model_copy(update={"display": DisplayParameters(side=0)})
    retained, *batches = read_photos(matched_photos, folder, images, unusable, frozenset(), without)
    usable, turned, _ = _rows(batches)
    return retained[:2], usable, turned


def read_all(matched_photos, folder, parameters, images=(), renditions=()):
    """Read photos that may be stored already, by key, and return the rows of all three tables."""
    existing = (frozenset(images), frozenset(), frozenset(renditions))
    return _rows(list(read_photos(matched_photos, folder, *existing, parameters))[1:])


def _rows(batches):
    return [[row for batch in batches for row in batch[table].to_pylist()] for table in range(3)]


def bomb():
    """A PNG of a few hundred bytes that says that it is 60,000 pixels high and wide."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def test_photo_is_stored_canonical_with_its_source(matched, folder, one_process, draw_photo):
    data = draw_photo(size=(80, 40), format_="PNG")
    _, usable, _ = read(matched(a=data), folder, one_process)

    assert usable[0]["jpeg"] == canonical.canonicalize(data)
    assert (usable[0]["format"], usable[0]["width"], usable[0]["height"]) == ("PNG", 80, 40)
    assert (usable[0]["image_id"], usable[0]["product_id"]) == ("a", "p of a")


def test_pending_keys_are_known_before_reading(matched, folder, one_process, draw_photo):
    rows = matched(a=draw_photo(1), b=b"none")
    message = next(iter(read_photos(rows, folder, *[frozenset()] * 3, one_process)))

    assert all(isinstance(item, KeepOnly) for item in message)
    assert folder.asked == []
    _, usable, turned = read(rows, folder, one_process)
    assert {row["key"] for row in usable + turned} == message[0].keys == message[1].keys


def test_photo_changed_since_listing_is_rejected_once(matched, folder, one_process, draw_photo):
    listed = matched(a=draw_photo(1))
    anew = matched(a=draw_photo(2, size=(100, 80)))

    (before, _), usable, turned = read(listed, folder, one_process)
    (after, _), then, _ = read(anew, folder, one_process)

    assert usable == []
    assert turned[0]["reason"] == Reason.NOT_AS_LISTED
    assert turned[0]["detail"]
    assert [row["image_id"] for row in then] == ["a"]
    assert before.keys.isdisjoint(after.keys)
    assert turned[0]["key"] not in before.keys | after.keys


def test_photo_being_written_is_rejected(matched, folder, one_process, draw_photo, monkeypatch):
    photo = draw_photo(1)
    rows = matched(a=photo)
    monkeypatch.setattr(folder, "fetch", lambda files: [photo[:-100]])

    _, usable, turned = read(rows, folder, one_process)

    assert usable == []
    assert turned[0]["reason"] == Reason.NOT_AS_LISTED
    assert f"{len(photo) - 100:,}" in turned[0]["detail"]


def test_invalid_photo_does_not_stop_others(matched, folder, one_process, draw_photo):
    good = draw_photo(size=(300, 200))
    result = matched(
        empty=b"",
        good=good,
        text=b"<html>not found</html>",
        cut=good[: len(good) // 2],
        bomb=bomb(),
        gif=b"GIF89a" + bytes(20),
        better=draw_photo(2),
    )
    _, usable, turned = read(result, folder, one_process)

    assert [row["image_id"] for row in usable] == ["good", "better"]
    assert {row["image_id"]: row["reason"] for row in turned} == {
        "empty": "empty",
        "text": "not_an_image",
        "cut": "truncated",
        "bomb": "too_many_pixels",
        "gif": "unsupported_format",
    }


@pytest.mark.parametrize("missed", list(FetchFailure), ids=lambda missed: missed.name)
def test_file_replaced_since_listing_is_fetched_by_next_run(
    matched, folder, one_process, draw_photo, missed, monkeypatch
):
    result = matched(a=draw_photo())
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(folder, "fetch", lambda files: [missed for _ in files])
        _, usable, turned = read(result, folder, one_process)
    assert usable == []
    assert [(row["reason"], row["detail"]) for row in turned] == [(Reason.NOT_AS_LISTED, missed)]

    # As it was listed before: with the same ETag and size.
    retained, again, _ = read(result, folder, one_process, frozenset(), {turned[0]["key"]})

    assert turned[0]["key"] not in retained[1].keys
    assert [row["image_id"] for row in again] == ["a"]


def test_file_over_limit_is_not_fetched(matched, folder, changed, cleaning, draw_photo):
    small, large = draw_photo(size=(32, 24)), draw_photo(size=(300, 200))
    changes = cleaning.photos.model_dump() | {"max_bytes": len(small), "processes": 1}
    _, usable, turned = read(matched(a=large, b=small), folder, changed("photos", **changes))

    assert folder.asked == ["b.jpg"]
    assert [row["image_id"] for row in usable] == ["b"]
    assert [(row["image_id"], row["reason"], row["head"]) for row in turned] == [
        ("a", "oversized", b"")
    ]
    assert f"{len(large):,}" in turned[0]["detail"]


def test_file_grown_over_limit_is_not_decoded(matched, folder, changed, cleaning, draw_photo):
    result = matched(a=b"x")
    (Path(folder.folder.url) / "a.jpg").write_bytes(draw_photo())
    changes = cleaning.photos.model_dump() | {"max_bytes": 100, "processes": 1}

    assert (
        read(result, folder, changed("photos", **changes))[2][0]["reason"] == Reason.NOT_AS_LISTED
    )


def test_only_start_of_unusable_file_is_kept(matched, folder, one_process):
    _, _, turned = read(matched(a=b"?" * 200_000), folder, one_process)

    assert turned[0]["head"] == b"?" * 65536


def test_stored_photos_are_not_read_again(matched, folder, one_process, draw_photo):
    result = matched(a=draw_photo(1), b=draw_photo(2), c=b"bad")
    _, usable, turned = read(result, folder, one_process)
    folder.asked.clear()
    existing = frozenset(row["key"] for row in usable if row["image_id"] == "a")
    unusable = frozenset(row["key"] for row in turned)

    retained, again, _ = read(result, folder, one_process, existing, unusable)

    assert folder.asked == ["b.jpg"]
    assert [row["image_id"] for row in again] == ["b"]
    assert existing | unusable < retained[0].keys


@pytest.mark.parametrize("column", ["source_etag", "source_size", "product_id"])
def test_photo_with_changed_source_is_read_again(matched, folder, one_process, draw_photo, column):
    result = matched(a=draw_photo())
    existing = frozenset(row["key"] for row in read(result, folder, one_process)[1])
    result[column] = {"source_etag": "new", "source_size": 7, "product_id": "other"}[column]

    _, usable, turned = read(result, folder, one_process, existing)

    assert len(usable + turned) == 1


def test_changed_limits_but_not_batches_read_all_again(
    matched, folder, changed, cleaning, draw_photo
):
    result = matched(a=draw_photo())
    changes = cleaning.photos.model_dump() | {"processes": 1}

    def photos_without_change(**values):
        return read(result, folder, changed("photos", **changes | values))[0][0].keys

    assert photos_without_change(photos_per_batch=3) == photos_without_change(photos_per_batch=5)
    assert photos_without_change(max_pixels=10**6) != photos_without_change(max_pixels=10**7)


def test_batches_are_limited(matched, folder, changed, cleaning):
    changes = cleaning.photos.model_dump() | {"photos_per_batch": 2, "processes": 1}
    result = matched(a=b"1", b=b"2", c=b"3", d=b"4", e=b"5")
    _, *batches = read_photos(result, folder, *[frozenset()] * 3, changed("photos", **changes))

    assert [len(turned) for _, turned, _ in batches] == [2, 2, 1]


def test_many_processes_equal_one(matched, folder, changed, cleaning, draw_photo):
    result = matched(a=draw_photo(1), b=b"bad", c=draw_photo(3))
    changes = cleaning.photos.model_dump() | {"photos_per_batch": 1}

    one, two = (
        read(result, folder.folder, changed("photos", **changes | {"processes": processes}))
        for processes in (1, 2)
    )

    assert one == two


@pytest.mark.slow
@pytest.mark.parametrize("photos_per_batch", [2, 256])
def test_photo_that_crashes_its_decoder_is_rejected_alone(
    matched, folder, changed, cleaning, draw_photo, photos_per_batch
):
    photos = {name: draw_photo(number) for number, name in enumerate(["a", "b", "crash", "d"])}
    changes = cleaning.photos.model_dump() | {"photos_per_batch": photos_per_batch}
    source = Crashing(folder.folder.url)

    _, usable, unusable = read(matched(**photos), source, changed("photos", **changes))

    assert sorted(row["image_id"] for row in usable) == ["a", "b", "d"]
    assert [(row["image_id"], row["reason"]) for row in unusable] == [("crash", "crashed")]


def test_no_photos_are_accepted(matched, folder, one_process):
    assert read(matched().astype({"image_id": "str"}), folder, one_process)[1:] == ([], [])


def test_unusable_file_and_its_rows_are_in_the_ledger(
    matched, folder, one_process, tmp_path, cleaning
):
    result = matched(a=b"bad", b=b"")
    result["repeated_in"] = [[7, 9], []]
    _, _, turned = read(result, folder, one_process)
    url = str(tmp_path / "unusable.lance")
    keyed_table.ensure_table(url, REJECTED_PHOTOS)
    table_writer.insert(url, pa.Table.from_pylist(turned, schema=REJECTED_PHOTOS))

    ledger = quarantine_unusable_photos(result, keyed_table.open_table(url), cleaning)

    assert ledger[["stage", "row", "key", "reason"]].to_numpy().tolist() == [
        ["files", -1, "images/a.jpg", "not_an_image"],
        ["images", 0, "a", "unusable_file"],
        ["images", 7, "a", "unusable_file"],
        ["images", 9, "a", "unusable_file"],
        ["files", -1, "images/b.jpg", "empty"],
        ["images", 1, "b", "unusable_file"],
    ]


def test_product_ids_are_sorted_by_photo(store_photos, draw_photo):
    stored = store_photos({"b": draw_photo(1), "a": draw_photo(2)})

    listed = image_product_ids(stored)
    assert listed["sha256"].tolist() == stored.read(["sha256"]).column(0).to_pylist()[::-1]
    assert listed.drop(columns="sha256").to_numpy().tolist() == [
        ["a", "product of a"],
        ["b", "product of b"],
    ]


def test_photo_has_a_rendition_unless_it_is_canonical(matched, folder, one_process, draw_photo):
    large = draw_photo(size=(900, 600))
    stored = canonical.canonicalize(draw_photo(2))
    usable, _, renditions = read_all(matched(a=large, b=stored), folder, one_process)

    assert [row["jpeg"] for row in usable] == [canonical.canonicalize(large), stored]
    assert (
        renditions[0]["jpeg"] == canonical.read_photo(large, None, canonical.DisplaySize()).display
    )
    assert (renditions[1]["jpeg"], renditions[1]["sha256"]) == (None, None)
    assert [row["image_id"] for row in renditions] == ["a", "b"]


def test_stored_photo_without_rendition_gets_one(matched, folder, one_process, draw_photo):
    rows = matched(a=draw_photo(1), b=draw_photo(2))
    usable, _, renditions = read_all(rows, folder, one_process)
    images = [row["key"] for row in usable]

    again = read_all(rows, folder, one_process, images, [renditions[0]["key"]])

    assert again == [[], [], renditions[1:]]
    assert read_all(rows, folder, one_process, images, [row["key"] for row in renditions]) == [
        [],
        [],
        [],
    ]


def test_changed_display_size_keeps_canonical_photos(
    matched, folder, one_process, changed, draw_photo
):
    rows = matched(a=draw_photo(size=(900, 600)))
    usable, _, renditions = read_all(rows, folder, one_process)
    smaller = one_process.model_copy(update={"display": DisplayParameters(side=512)})

    again = read_all(rows, folder, smaller, [usable[0]["key"]], [renditions[0]["key"]])

    assert again[:2] == [[], []]
    assert again[2][0]["key"] != renditions[0]["key"]
    assert max(Image.open(io.BytesIO(again[2][0]["jpeg"])).size) == 512


def test_stored_photo_that_cannot_be_read_again_is_kept(
    matched, folder, one_process, draw_photo, monkeypatch
):
    rows = matched(a=draw_photo())
    usable, *_ = read_all(rows, folder, one_process)
    monkeypatch.setattr(folder, "fetch", lambda files: [b"" for _ in files])

    assert read_all(rows, folder, one_process, [usable[0]["key"]]) == [[], [], []]
