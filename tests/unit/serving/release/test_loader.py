import json
import resource
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

from fb_marketplace_serving.ann.build import build_index, flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import (
    Canary,
    Manifest,
    ReleaseError,
    artifact_of,
    read_manifest,
)
from fb_marketplace_serving.release.pointer import publish, read_current
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.storage.lake import Lake

FILES = {
    "encoder": "model/encoder.onnx",
    "image_index": "model/index.faiss",
    "image_index_ids": "model/ids.parquet",
    "listings": "model/listings.parquet",
    "descriptions": "model/descriptions.parquet",
    "release_photos": "model/photos.parquet",
    "release_display_photos": "model/display_photos.parquet",
    "release_measures": "model/measures.parquet",
}
PARSED = [name for name in FILES if name != "release_measures"]
"""What a server reads; the measures are for the next gate."""


def refusal(lake, version=None):
    """The one line with which a release is refused."""
    with pytest.raises(ReleaseError) as caught:
        Release.open(lake, version)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewrite_manifest(lake, change):
    """Change a manifest whose checksum the pointer does not hold."""
    file = Path(lake, "releases/v1.json")
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    Path(lake, "releases/current.json").write_text('{"version": "v1"}')


def resealed(lake, manifest, **changes):
    """Publish a changed manifest with new checksums."""
    sealed = {name: artifact_of(Lake(lake), path) for name, path in FILES.items()}
    publish(Lake(lake), manifest.model_copy(update={"artifacts": sealed} | changes))
    return lake


def test_open_returns_whole_release(lake, draft):
    release = Release.open(lake)

    assert release.manifest == draft
    assert release.encoder.classes == len(draft.labels)
    assert len(release.index) == 5
    assert release.listings["prd-red"] == Listing(
        product_id="prd-red",
        title="A red chair",
        price=10.0,
        currency="GBP",
        category="Home & Garden",
        category_path="Home & Garden / Chairs",
        town="Leeds",
        county=None,
        created_at=1_645_870_272,
    )


def test_open_release_is_immutable(release):
    with pytest.raises(AttributeError):
        release.index = None
    with pytest.raises(TypeError):
        release.listings["prd-red"] = None


@pytest.mark.parametrize("product", ["prd-blue", "prd-yellow"])
def test_missing_price_is_none_for_null_and_nan(release, product):
    expected = {"prd-blue": None, "prd-yellow": None}

    assert release.listings[product].price is expected[product]


def test_open_reads_from_object_store(lake):
    url = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").put(f"{lake}/", f"{url}/", recursive=True)

    assert Release.open(url).manifest.version == "v1"


def test_missing_cache_folder_is_an_error_that_names_the_setting(lake, tmp_path, monkeypatch):
    monkeypatch.setenv("FB_CACHE_DIR", str(tmp_path / "none"))

    message = refusal(lake)

    assert str(tmp_path / "none") in message
    assert "FB_CACHE_DIR" in message


def test_full_cache_folder_is_an_error_that_names_the_setting(lake):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
    try:
        message = refusal(lake)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "FB_CACHE_DIR" in message


def test_cache_folder_has_no_files_while_a_release_is_open(lake, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()

    release = Release.open(lake, cache=folder)

    assert list(folder.iterdir()) == []
    assert len(release.listings) == 5


def test_open_of_other_version_than_current(lake, draft):
    publish(Lake(lake), draft.model_copy(update={"version": "v2"}))

    assert Release.open(lake).manifest.version == "v2"
    assert Release.open(lake, "v1").manifest.version == "v1"


def test_open_before_publishing(tmp_path, draft):
    assert Release.from_manifest(Lake(str(tmp_path)), draft).manifest is draft


@pytest.mark.parametrize("artifact", FILES)
def test_artifact_with_one_changed_byte_is_rejected(lake, artifact):
    file = Path(lake, FILES[artifact])
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    assert f"{lake}/{FILES[artifact]}" in refusal(lake)


@pytest.mark.parametrize("artifact", FILES)
def test_truncated_artifact_is_rejected(lake, artifact):
    file = Path(lake, FILES[artifact])
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])

    message = refusal(lake)
    assert f"{lake}/{FILES[artifact]}: " in message
    assert f"{size - 1:,} bytes" in message
    assert f"{size:,}" in message


@pytest.mark.parametrize("artifact", FILES)
def test_missing_artifact_is_rejected(lake, artifact):
    Path(lake, FILES[artifact]).unlink()

    assert f"{lake}/{FILES[artifact]}: " in refusal(lake)


@pytest.mark.parametrize("artifact", PARSED)
def test_artifact_sealed_damaged_is_named(tmp_path, draft, artifact):
    Path(tmp_path, FILES[artifact]).write_bytes(b"nonsense")

    named, _, text = refusal(resealed(str(tmp_path), draft)).partition(": ")
    assert f"{tmp_path}/{FILES[artifact]}" in named
    assert "8 bytes" in text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"labels": ("Reds", "Greens")}, "2 labels"),
        ({"embedding_dimension": 9}, " 9"),
        ({"photos_version": canonical.VERSION + 1}, str(canonical.VERSION + 1)),
        ({"framing_version": 1}, "found framing of photos of version 1; expected 2"),
    ],
)
def test_inconsistent_parts_are_rejected(tmp_path, draft, changes, text):
    message = refusal(resealed(str(tmp_path), draft, **changes))

    assert f"{tmp_path}/releases/v1.json: " in message
    assert text in message


def test_index_with_unlisted_products_is_rejected(tmp_path, draft, listing_columns):
    fewer = pa.table(listing_columns).slice(1)
    pq.write_table(fewer, tmp_path / FILES["listings"])

    assert "prd-red" in refusal(resealed(str(tmp_path), draft))


def test_listings_with_other_columns_are_rejected(tmp_path, draft, listing_columns):
    pq.write_table(pa.table(listing_columns).drop("town"), tmp_path / FILES["listings"])

    assert "product_id, title, price" in refusal(resealed(str(tmp_path), draft))


def test_listings_with_duplicate_product_are_rejected(tmp_path, draft, listing_columns):
    table = pa.table(listing_columns)
    pq.write_table(pa.concat_tables([table, table]), tmp_path / FILES["listings"])

    assert "10 rows for 5 products" in refusal(resealed(str(tmp_path), draft))


def changed_canary(manifest: Manifest, **changes: object) -> dict[str, tuple[Canary, ...]]:
    return {"canaries": (manifest.canaries[0].model_copy(update=changes),)}


@pytest.mark.parametrize("answer", ["probabilities", "embedding"])
@pytest.mark.parametrize("off", [0.01, float("nan")])
def test_canary_with_other_prediction_is_rejected(tmp_path, draft, answer, off):
    numbers = list(getattr(draft.canaries[0], answer))
    numbers[0] += off
    wrong = draft.model_copy(update=changed_canary(draft, **{answer: numbers}))

    with pytest.raises(ReleaseError, match=f"img-green.*{answer}"):
        Release.from_manifest(Lake(str(tmp_path)), wrong)


def test_canary_within_cpu_tolerance_is_accepted(tmp_path, draft):
    near = [number + 5e-4 for number in draft.canaries[0].embedding]

    Release.from_manifest(
        Lake(str(tmp_path)), draft.model_copy(update=changed_canary(draft, embedding=near))
    )


@pytest.mark.parametrize("neighbor", ["img-red", "img-unknown"])
def test_canary_with_other_neighbor_is_rejected(tmp_path, draft, neighbor):
    wrong = draft.model_copy(update=changed_canary(draft, neighbors=[neighbor]))

    with pytest.raises(ReleaseError, match=f"img-green.*{neighbor}"):
        Release.from_manifest(Lake(str(tmp_path)), wrong)


def put_index(folder, index):
    for name, content in zip(("image_index", "image_index_ids"), index.to_bytes(), strict=True):
        (folder / FILES[name]).write_bytes(content)
    # Each photo of the index is one of the release's; what it shows is not asked here.
    last = pq.read_table(folder / FILES["release_photos"]).to_pylist()[-1]
    others = [last | {"image_id": item} for item in index.image_ids]
    pq.write_table(pa.Table.from_pylist(others), folder / FILES["release_photos"])


def test_canary_with_equally_near_neighbor_is_accepted(tmp_path, draft):
    ids = pq.read_table(tmp_path / FILES["image_index_ids"]).to_pydict()
    ids["image_id"][4] = "img-copy"
    vectors = np.float32([draft.canaries[0].embedding] * 5)
    put_index(tmp_path, Index.build_flat(vectors, ids["image_id"], ids["product_id"]))

    resealed(str(tmp_path), draft, **changed_canary(draft, neighbors=["img-copy"]))

    assert Release.open(str(tmp_path)).index.image_ids[4] == "img-copy"


@pytest.mark.parametrize("change", [[-1.0] * 8, [1.0] * 7 + [0.5]], ids=["far", "near"])
def test_index_of_other_encoder_is_rejected(tmp_path, draft, encoder, canonical_photos, change):
    """The same ids; in the second case the canary's photo is still the nearest, only not there."""
    pixels = np.stack([canonical.decode_canonical(jpeg) for jpeg in canonical_photos.values()])
    others = encoder.encode(pixels).embeddings * np.float32(change)
    ids = pq.read_table(tmp_path / FILES["image_index_ids"]).to_pydict()
    put_index(tmp_path, Index.build_flat(others, ids["image_id"], ids["product_id"]))

    message = refusal(resealed(str(tmp_path), draft))

    assert "img-green" in message
    assert "index" in message


def test_canary_unreachable_in_hnsw_is_accepted(tmp_path, draft, monkeypatch):
    """The graph holds the photo and finds others; which is no reason to call it another encoder's."""
    canary = np.float32(draft.canaries[0].embedding)
    drawn = np.random.default_rng(0).normal(size=(300, 8))
    vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    vectors[-1] = canary
    names = [f"img-{row}" for row in range(299)] + ["img-green"]
    put_index(
        tmp_path, Index(build_index("hnsw", flat_index([vectors])), names, ["prd-green"] * 300)
    )
    resealed(str(tmp_path), draft)
    monkeypatch.setattr(
        FaissIndex,
        "_search",
        lambda _, queries, count, *__: (
            np.ones((1, count), np.float32),
            np.arange(count)[np.newaxis],
        ),
    )

    opened = Release.open(str(tmp_path)).index

    assert opened.search(canary, 1).distances[0] > 0.01


def test_index_without_canary_photo_is_rejected(tmp_path, draft):
    ids = pq.read_table(tmp_path / FILES["image_index_ids"]).to_pydict()
    ids["image_id"][1] = "img-other"
    vectors = np.float32([draft.canaries[0].embedding] * 5)
    put_index(tmp_path, Index.build_flat(vectors, ids["image_id"], ids["product_id"]))

    assert "img-green" in refusal(resealed(str(tmp_path), draft))


def test_canary_that_is_no_canonical_photo_is_rejected(tmp_path, draft):
    wrong = draft.model_copy(update=changed_canary(draft, photo="bm8gcGhvdG8="))

    with pytest.raises(ReleaseError) as caught:
        Release.from_manifest(Lake(str(tmp_path)), wrong)

    assert "img-green" in str(caught.value)
    assert "0x" not in str(caught.value)


def test_lake_without_release_names_command(tmp_path):
    message = refusal(str(tmp_path))

    assert message.startswith(f"{tmp_path}/releases/current.json: ")
    assert "kedro run" in message
    assert "--lake" in message


def test_unknown_version_is_rejected(lake):
    assert f"{lake}/releases/v9.json: " in refusal(lake, "v9")


@pytest.mark.parametrize("version", ["../v1", "", "a b", "v1\n"])
def test_invalid_version_is_rejected(lake, version):
    assert repr(version) in refusal(lake, version)


@pytest.mark.parametrize("pointer", [b"", b"{}", b"[1]", b'{"version": "../../etc"}'])
def test_damaged_pointer_is_rejected(lake, pointer):
    Path(lake, "releases/current.json").write_bytes(pointer)

    assert f"{lake}/releases/current.json" in refusal(lake)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"schema_version": "4"}, "schema_version"),
        ({"surprise": 1}, "surprise"),
        ({"artifacts": {}}, "artifacts"),
        ({"labels": []}, "labels"),
        ({"canaries": []}, "canaries"),
    ],
)
def test_damaged_manifest_names_field(lake, change, where):
    rewrite_manifest(lake, lambda manifest: manifest | change)

    message = refusal(lake)

    assert f"{lake}/releases/v1.json: " in message
    assert where in message


@pytest.mark.parametrize("schema", [1, 5, 7])
def test_manifest_of_other_schema_names_schema_version(lake, schema):
    rewrite_manifest(lake, lambda _: {"schema_version": schema, "version": "v1"})

    message = refusal(lake)

    assert "releases/v1.json: " in message
    assert f"schema_version is {schema}" in message


def test_release_exposes_confidence_threshold(release):
    assert (release.manifest.abstention.threshold, release.manifest.abstention.error) == (0.6, 0.05)


def test_index_of_photos_missing_in_release_is_rejected(tmp_path, draft):
    table = pq.read_table(tmp_path / FILES["release_photos"])
    red = pa.compute.not_equal(table.column("image_id"), "img-red")
    pq.write_table(table.filter(red), tmp_path / FILES["release_photos"])

    message = refusal(resealed(str(tmp_path), draft))

    assert "img-red" in message


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "s3://bucket/x", ""])
def test_artifact_outside_lake_is_rejected(lake, path):
    def change(manifest):
        manifest["artifacts"]["image_index"]["path"] = path
        return manifest

    rewrite_manifest(lake, change)

    assert "artifacts.image_index.path" in refusal(lake)


def test_manifest_under_other_name_is_rejected(lake):
    Path(lake, "releases/v1.json").rename(Path(lake, "releases/v2.json"))

    assert "v1" in refusal(lake, "v2")


def test_published_manifest_round_trips(lake, draft):
    assert read_current(Lake(lake)) == read_manifest(Lake(lake), "v1") == draft


def test_publish_never_changes_a_release(lake, draft):
    before = Path(lake, "releases/v1.json").read_bytes()

    with pytest.raises(ReleaseError, match=r"releases/v1\.json"):
        publish(Lake(lake), draft.model_copy(update={"code_revision": "other"}))

    assert Path(lake, "releases/v1.json").read_bytes() == before


def test_pointer_stays_if_manifest_cannot_be_written(lake, draft):
    publish(Lake(lake), draft.model_copy(update={"version": "v2"}))

    with pytest.raises(ReleaseError):
        publish(Lake(lake), draft)

    assert read_current(Lake(lake)).version == "v2"


def test_artifact_has_size_and_checksum(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")

    artifact = artifact_of(Lake(str(tmp_path)), "a.bin")

    assert (artifact.path, artifact.bytes) == ("a.bin", 3)
    assert artifact.sha256.startswith("ba7816bf8f01cfea")
