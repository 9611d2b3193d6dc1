"""Erasure of a listing from a small lake."""

import contextlib
import json
import tracemalloc

import pandas as pd
import pyarrow as pa
import pytest
from support.builders.small_lake import SmallLake, version

from fb_marketplace.errors import UserError
from fb_marketplace.lifecycle import erasure
from fb_marketplace.lifecycle.erasure import (
    BucketResidue,
    count_in_bucket,
    erase,
    find_listings,
    read_receipts,
)
from fb_marketplace.lifecycle.erasure_scan import ListingFingerprints, fingerprints_of, scan_lake
from fb_marketplace.schemas.lance import DISPLAY_PHOTOS, IMAGES
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.feedback_source import FeedbackSource
from fb_marketplace.storage.photo_source import PhotoSource
from fb_marketplace.storage.run_records import RunRecords
from fb_marketplace_serving.release.pointer import read_pointer
from fb_marketplace_serving.storage.erasure_list import add_to_erasure_list, read_erasure_list
from fb_marketplace_serving.storage.lake import Lake

LAMP, TABLE_, CHAIR = "lamp-4e5f6a7b", "table-1c58d3f9", "chair-860673f1"
IN_BUCKET = BucketResidue(1, 1, 1, 0)


def parquet(rows):
    sink = pa.BufferOutputStream()
    pd.DataFrame(rows).to_parquet(sink)
    return sink.getvalue().to_pybytes()


def photo(product):
    """A row of the photo table with bytes stored out of line."""
    name = f"photo-of-{product}"
    return {
        "key": f"key {name}",
        "image_id": name,
        "product_id": product,
        "source_key": f"{name}.jpg",
        "source_etag": "tag",
        "source_size": 1,
        "source_sha256": name.encode().hex().ljust(64, "0")[:64],
        "format": "JPEG",
        "width": 1,
        "height": 1,
        "jpeg": name.encode()[::-1] * 99,
        "sha256": name.encode().hex().rjust(64, "0")[-64:],
        "perceptual_hash": [1],
    }


def rendition(product):
    """A row of the table of display renditions."""
    row = photo(product)
    same = {name: row[name] for name in ("key", "image_id", "product_id")}
    return same | {"jpeg": b"large " + row["jpeg"], "sha256": row["sha256"][::-1]}


def whole_run(lake, day, products):
    """Write the outputs of a full run of listings with a photo and a title each."""
    run = version(day)
    lake.file("02_intermediate/source_manifest.json", run)
    listed = [
        {"product_id": name, "title": f"A fine {name[:-9]}", "description": "x"}
        for name in products
    ]
    lake.file("03_primary/products.parquet", run, parquet(listed))
    lake.file("07_model_output/listings.parquet", run, parquet(listed))
    photos = [photo(name) for name in products]
    rows = [{"image_id": item["image_id"], "product_id": item["product_id"]} for item in photos]
    lake.file("02_intermediate/cleaned_image_rows.parquet", run, parquet(rows))
    renditions = [rendition(name) for name in products]
    for name, table, schema in (
        ("images", photos, IMAGES),
        ("display_photos", renditions, DISPLAY_PHOTOS),
    ):
        url = str(lake.root / f"03_primary/{name}.lance")
        keyed_table.ensure_table(url, schema)
        table_writer.retain(url, frozenset(item["key"] for item in table))
        number = table_writer.insert(url, pa.Table.from_pylist(table, schema=schema))
        keyed_table.tag(url, run, number)
    history = [{"stage": "fine_tuning", "epoch": 0.0, "validation_loss": float(day)}]
    lake.file("08_reporting/training_history.json", run, json.dumps(history).encode())
    lake.release(run, b"".join(item["jpeg"] for item in photos))
    lake.record(run, [*erasure.FULL_RUN_OUTPUTS, "products", "images"])
    return run


@pytest.fixture
def lake(tmp_path):
    """Two runs of three listings."""
    lake = SmallLake(tmp_path / "lake")
    for day in (1, 2):
        whole_run(lake, day, [LAMP, TABLE_, CHAIR])
    return lake


@pytest.fixture
def url(lake):
    return str(lake.root)


def test_fingerprints_have_ids_title_and_photos(url):
    result = fingerprints_of(Lake(url), frozenset([LAMP]))

    assert result == ListingFingerprints(
        frozenset([LAMP]),
        frozenset([f"photo-of-{LAMP}"]),
        frozenset(["A fine lamp"]),
        frozenset([photo(LAMP)["sha256"], photo(LAMP)["source_sha256"], rendition(LAMP)["sha256"]]),
        frozenset([photo(LAMP)["jpeg"], rendition(LAMP)["jpeg"]]),
    )


def test_shared_content_is_no_fingerprint(lake, url):
    whole_run(lake, 3, [LAMP, TABLE_, CHAIR, "lamp-00000000"])
    copy = photo("lamp-00000000") | {name: photo(LAMP)[name] for name in ("jpeg", "sha256")}
    table = f"{url}/03_primary/images.lance"
    table_writer.insert(table, pa.Table.from_pylist([copy | {"key": "copy"}], schema=IMAGES))
    copy = rendition(LAMP) | {"key": "copy", "product_id": "lamp-00000000"}
    table = f"{url}/03_primary/display_photos.lance"
    table_writer.insert(table, pa.Table.from_pylist([copy], schema=DISPLAY_PHOTOS))

    result = fingerprints_of(Lake(url), frozenset([LAMP]))

    assert not result.titles
    assert result.digests == {photo(LAMP)["source_sha256"]}
    assert not result.photos


@pytest.mark.parametrize(
    ("title", "other"),
    [
        ("Armchair", {"title": "x"}),
        ("Garden Tools", {"category": "Garden tools"}),
        ("Garden Tools", {"description": "Many garden TOOLS."}),
        ("Garden Tools", {"labels": ["Home", "garden tools"]}),
    ],
)
def test_common_title_is_no_fingerprint(lake, url, title, other):
    before = {"title": "x", "description": "x", "category": "x", "labels": ["x"]}
    own = before | {"product_id": LAMP, "title": title}
    others = before | {"product_id": CHAIR} | other
    lake.file("03_primary/products.parquet", version(3), parquet([own, others]))

    assert fingerprints_of(Lake(url), frozenset([LAMP])).titles == frozenset()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("08_reporting/a.json", json.dumps({"shown": [LAMP]}).encode()),
        ("08_reporting/a.json", json.dumps("A fine “lamp”").encode()),
        ("07_model_output/a.parquet", parquet([{"ids": [LAMP]}])),
        ("07_model_output/a.parquet", parquet([{"photos": [{"image_id": "i-12345678"}]}])),
        ("07_model_output/a.parquet", parquet([{"detail": f"listing {LAMP} was turned away"}])),
        ("07_model_output/a.parquet", parquet([{"sha256": bytes.fromhex("ab" * 32)}])),
        ("07_model_output/photos/a.jpegs", b"before" + b"jpeg" * 9 + b"after"),
        ("releases/a.json", b'{"photo": "anBlZ2pwZWdqcGVnanBlZ2pwZWdqcGVnanBlZ2pwZWdqcGVn"}'),
        ("work/f/a.bin", b"\x00i-12345678\x00"),
    ],
    ids=["id", "title", "list", "photo", "text", "sha256", "jpeg", "base64", "binary"],
)
def test_scan_finds_every_spelling(tmp_path, path, content):
    lake = SmallLake(tmp_path)
    known = ListingFingerprints(
        frozenset([LAMP]),
        frozenset(["i-12345678"]),
        frozenset(["A fine “lamp”"]),
        frozenset(["ab" * 32]),
        frozenset([b"jpeg" * 9]),
    )
    lake.put("08_reporting/other.json", json.dumps([TABLE_, LAMP[:-1]]).encode())
    lake.put(path, content)

    assert [hit.path for hit in scan_lake(Lake(str(tmp_path)), known).hits] == [path]


def test_scan_finds_match_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("fb_marketplace_serving.storage.lake._BLOCK_BYTES", 5)
    lake = SmallLake(tmp_path)
    lake.put("work/f/a.bin", b"before " + LAMP.encode() + b" after")
    lake.put("work/f/b.bin", b"before " + LAMP[:-1].encode() + b" after")

    assert [
        hit.path
        for hit in scan_lake(Lake(str(tmp_path)), ListingFingerprints(frozenset([LAMP]))).hits
    ] == ["work/f/a.bin"]


def test_scan_of_large_file_uses_little_memory(tmp_path):
    size, pos = 64 * 1024 * 1024, tmp_path / "work/f/a.bin"
    pos.parent.mkdir(parents=True)
    with pos.open("wb") as stream:
        stream.seek(size)
        stream.write(LAMP.encode())
    tracemalloc.start()

    hits = scan_lake(Lake(str(tmp_path)), ListingFingerprints(frozenset([LAMP]))).hits

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert hits
    assert peak < size / 2


def test_scan_matches_short_id_only_as_whole_value(tmp_path):
    lake = SmallLake(tmp_path)
    lake.put("08_reporting/other.json", b'{"count": 17, "text": "about 17 of them"}')
    lake.put("08_reporting/ids.json", b'["17"]')
    lake.put("07_model_output/other.parquet", parquet([{"text": "17 chairs"}]))
    lake.put("07_model_output/ids.parquet", parquet([{"product_id": "17"}]))

    assert [
        hit.path
        for hit in scan_lake(Lake(str(tmp_path)), ListingFingerprints(frozenset(["17"]))).hits
    ] == [*("07_model_output/ids.parquet", "08_reporting/ids.json")]


def test_scan_names_the_listings_that_it_finds(lake, url):
    lake.put("08_reporting/a.json", json.dumps([LAMP, "17", "18"]).encode())

    result = scan_lake(Lake(url), ListingFingerprints(frozenset([LAMP, "17", "nobody-here"])))

    assert result.product_ids == {LAMP, "17"}


def test_title_that_only_erased_listings_share_identifies_them(lake, url):
    whole_run(lake, 3, [LAMP, TABLE_, CHAIR, "lamp-00000000"])

    both = fingerprints_of(Lake(url), frozenset([LAMP, "lamp-00000000"]))

    assert both.titles == {"A fine lamp"}


def test_scan_changes_nothing(lake, url):
    before = lake.files()

    result = find_listings(Lake(url), [LAMP])

    tables = {"03_primary/images.lance", "03_primary/display_photos.lance"}
    assert {hit.path for hit in result.hits} >= tables
    assert not read_erasure_list(Lake(url)).products
    assert lake.files() == before


def test_unknown_listing_is_rejected(url):
    with pytest.raises(UserError, match=r"\bnobody\b"):
        find_listings(Lake(url), ["nobody"])


def test_erased_listing_is_gone_and_others_remain(lake, url):
    result = find_listings(Lake(url), [LAMP])

    output = erase(Lake(url), result, lambda: whole_run(lake, 3, [TABLE_, CHAIR]), IN_BUCKET)

    texts = {path: (lake.root / path).read_bytes() for path in lake.files()}
    sought = (LAMP.encode(), photo(LAMP)["jpeg"])
    assert not [path for path, data in texts.items() if any(trace in data for trace in sought)]
    assert not [path for path in texts if version(1) in path or version(2) in path]
    assert read_pointer(Lake(url)).version == output["current_release"] == version(3)
    for name in ("images", "display_photos"):
        table = keyed_table.open_table(f"{url}/03_primary/{name}.lance", version(3))
        assert sorted(table.read(["product_id"]).column(0).to_pylist()) == [CHAIR, TABLE_]


def test_several_listings_are_erased_by_one_run(lake, url):
    runs = []

    def run():
        runs.append(whole_run(lake, 3, [CHAIR]))

    plan = find_listings(Lake(url), [LAMP, TABLE_])
    output = erase(Lake(url), plan, run, IN_BUCKET)

    assert len(runs) == 1
    texts = [(lake.root / path).read_bytes() for path in lake.files()]
    sought = [*(photo(name)["jpeg"] for name in (LAMP, TABLE_)), LAMP.encode(), TABLE_.encode()]
    assert not [data for data in texts if any(trace in data for trace in sought)]
    assert any(CHAIR.encode() in data for data in texts)
    listed = read_erasure_list(Lake(url))
    assert output["products"] == sorted([listed.digest(LAMP), listed.digest(TABLE_)])
    assert (
        read_receipts(Lake(url), [LAMP])
        == read_receipts(Lake(url), [TABLE_])
        == read_receipts(Lake(url), [LAMP, TABLE_])
    )


def test_unknown_listings_among_others_are_named(lake, url):
    before = lake.files()

    with pytest.raises(UserError, match="no listing nobody, nothing"):
        find_listings(Lake(url), [LAMP, "nobody", "nothing"])

    assert lake.files() == before


def test_erasure_of_some_resumes_that_of_all(lake, url, monkeypatch):
    def dies(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(erasure, "_remove_older", dies)
        plan = find_listings(Lake(url), [LAMP, TABLE_])
        erase(Lake(url), plan, lambda: whole_run(lake, 3, [CHAIR]), IN_BUCKET)

    resumed = find_listings(Lake(url), [TABLE_])
    output = erase(Lake(url), resumed, lambda: pytest.fail("it ran again"), IN_BUCKET)

    assert resumed.fingerprints.product_ids == {LAMP, TABLE_}
    assert len(output["products"]) == 2
    assert not [path for path in lake.files() if path.startswith("forgetting/")]


def test_erased_listing_may_be_erased_again_with_another(lake, url):
    plan = find_listings(Lake(url), [LAMP])
    erase(Lake(url), plan, lambda: whole_run(lake, 3, [TABLE_, CHAIR]), IN_BUCKET)

    plan = find_listings(Lake(url), [LAMP, TABLE_])
    erase(Lake(url), plan, lambda: whole_run(lake, 4, [CHAIR]), IN_BUCKET)

    assert len(read_receipts(Lake(url), [LAMP, TABLE_])) == 1
    assert not find_listings(Lake(url), [LAMP, TABLE_]).hits


def test_receipt_of_version_0_2_is_read(lake, url):
    erased = add_to_erasure_list(Lake(url), [LAMP], [])
    lake.put("receipts/a.json", json.dumps({"product": erased.digest(LAMP)}).encode())

    assert read_receipts(Lake(url), [LAMP]) == ["receipts/a.json"]


def test_receipt_has_places_and_no_names(lake, url):
    output = erase(
        Lake(url),
        find_listings(Lake(url), [LAMP]),
        lambda: whole_run(lake, 3, [TABLE_, CHAIR]),
        IN_BUCKET,
    )

    written = (lake.root / read_receipts(Lake(url), [LAMP])[0]).read_text()
    assert json.loads(written) == output
    assert LAMP not in written
    assert output["products"] == [read_erasure_list(Lake(url)).digest(LAMP)]
    assert output["removed"] == {
        "releases": [version(2), version(1)],
        "runs": [version(2), version(1)],
    }
    assert f"03_primary/products.parquet: {version(1)}, {version(2)}" in output["locations"]
    assert output["in_bucket"]["photos"] == 1
    assert "retrained" in output["models"]["network"]


def test_second_erasure_reports_erased(lake, url):
    erase(
        Lake(url),
        find_listings(Lake(url), [LAMP]),
        lambda: whole_run(lake, 3, [TABLE_, CHAIR]),
        IN_BUCKET,
    )

    again = find_listings(Lake(url), [LAMP])

    assert read_erasure_list(Lake(url)).has_product(LAMP)
    assert not again.hits
    assert read_receipts(Lake(url), [LAMP])


def test_rejected_run_removes_nothing(lake, url):
    before = lake.files()

    def refused():
        raise UserError("the release is not published: photo_top1")

    with pytest.raises(UserError, match="--skip-comparison"):
        erase(Lake(url), find_listings(Lake(url), [LAMP]), refused, IN_BUCKET)

    assert {
        path for path in lake.files() if "forg" not in path and "erasure_list" not in path
    } == before
    assert read_pointer(Lake(url)).version == version(2)


def test_killed_erasure_resumes_without_second_run(lake, url, monkeypatch):
    def dies(_):
        raise KeyboardInterrupt

    result = find_listings(Lake(url), [LAMP])
    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(erasure, "_remove_older", dies)
        erase(Lake(url), result, lambda: whole_run(lake, 3, [TABLE_, CHAIR]), IN_BUCKET)

    erase(
        Lake(url), find_listings(Lake(url), [LAMP]), lambda: pytest.fail("it ran again"), IN_BUCKET
    )

    assert not find_listings(Lake(url), [LAMP]).hits
    assert read_pointer(Lake(url)).version == version(3)


def test_run_that_kept_a_model_is_not_complete(lake, url):
    nightly = whole_run(lake, 3, [TABLE_, CHAIR])
    records = RunRecords(Lake(url))
    newest = next(records.newest_first())
    records.write(newest.model_copy(update={"retained": {"train_price_models": 0.0}}))

    output = erase(
        Lake(url),
        find_listings(Lake(url), [LAMP]),
        lambda: whole_run(lake, 4, [TABLE_, CHAIR]),
        IN_BUCKET,
    )

    assert output["current_release"] == version(4)
    assert nightly in output["removed"]["runs"]


def test_photos_of_failed_run_are_removed(lake, url, monkeypatch):
    def dies(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(erasure, "_remove_older", dies)
        erase(
            Lake(url),
            find_listings(Lake(url), [LAMP]),
            lambda: whole_run(lake, 3, [TABLE_, CHAIR]),
            IN_BUCKET,
        )
    lake.file("08_reporting/run_report.json", version(4))

    erase(
        Lake(url), find_listings(Lake(url), [LAMP]), lambda: pytest.fail("it ran again"), IN_BUCKET
    )

    photos = [(lake.root / path).read_bytes() for path in lake.files() if path.endswith(".jpegs")]
    assert photos
    assert not [data for data in photos if photo(LAMP)["jpeg"] in data]


@pytest.mark.parametrize("left", [photo(LAMP)["jpeg"], b"A fine lamp"])
def test_remaining_traces_are_found_by_journal(lake, url, left):
    lake.put("08_reporting/copied.bin", left)
    result = find_listings(Lake(url), [LAMP])
    with pytest.raises(UserError, match=r"\d+.*\bforget\b"):
        erase(Lake(url), result, lambda: whole_run(lake, 3, [TABLE_, CHAIR]), IN_BUCKET)

    again = find_listings(Lake(url), [LAMP])

    assert [hit.path for hit in again.hits] == ["08_reporting/copied.bin"]
    with pytest.raises(UserError, match=r"\d+.*\bforget\b"):
        erase(Lake(url), again, lambda: pytest.fail("it ran again"), IN_BUCKET)
    assert read_receipts(Lake(url), [LAMP]) == []


def test_resumed_erasure_reports_first_places(lake, url):
    lake.put("08_reporting/copied.bin", photo(LAMP)["jpeg"])
    with pytest.raises(UserError, match=r"\d+.*\bforget\b"):
        erase(
            Lake(url),
            find_listings(Lake(url), [LAMP]),
            lambda: whole_run(lake, 3, [TABLE_, CHAIR]),
            IN_BUCKET,
        )
    (lake.root / "08_reporting/copied.bin").unlink()

    output = erase(
        Lake(url), find_listings(Lake(url), [LAMP]), lambda: pytest.fail("it ran again"), IN_BUCKET
    )

    assert f"03_primary/products.parquet: {version(1)}, {version(2)}" in output["locations"]
    assert read_receipts(Lake(url), [LAMP])
    assert LAMP not in "".join((lake.root / path).read_text("latin-1") for path in lake.files())


def test_run_that_still_contains_listing_is_rejected(lake, url):
    with pytest.raises(UserError, match=r"\d+.*\bforget\b"):
        erase(
            Lake(url),
            find_listings(Lake(url), [LAMP]),
            lambda: whole_run(lake, 3, [LAMP, CHAIR]),
            IN_BUCKET,
        )

    assert read_receipts(Lake(url), [LAMP]) == []


def test_remaining_bucket_files_are_counted(raw_tables, tmp_path, cleaning):
    products, images = raw_tables
    (tmp_path / "images").mkdir()
    for name in ("i", "k"):
        (tmp_path / f"images/{name}.jpg").write_bytes(b"photo")
    (tmp_path / "searches-2026-01-01.jsonl").write_text('{"shown": ["p"]}\n{"shown": ["pp"]}\n')

    counts, known = count_in_bucket(
        products,
        images,
        PhotoSource(str(tmp_path / "images")),
        FeedbackSource(str(tmp_path)),
        cleaning,
        ListingFingerprints(frozenset(["p"])),
    )

    assert counts == BucketResidue(rows=2, image_rows=2, photos=1, feedback=1)
    assert known.image_ids == {"i", "j"}


@pytest.fixture
def raw_tables():
    products = pd.DataFrame({"id": ["p", "q", "\u200bp  "]})
    images = pd.DataFrame({"id": ["i", " j", "k"], "product_id": ["p ", "p", "q"]})
    return products, images


def test_find_listing_in_lake_of_older_layout_is_refused(lake, url):
    lake.put(f"runs/{version(3)}.json", b"{}")

    with pytest.raises(UserError, match=r"fb-marketplace 0\.1"):
        find_listings(Lake(url), [LAMP])
