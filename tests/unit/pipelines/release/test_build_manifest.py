import io

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.builders import small_search
from support.builders.tiny_text_encoder import tower

from fb_marketplace.ml.batch_inference import open_encoder
from fb_marketplace.parameters.release import ReleaseParameters
from fb_marketplace.pipelines.listings.listing_features import (
    build_descriptions,
    build_listing_cards,
)
from fb_marketplace.pipelines.release.build_manifest import (
    build_manifest,
    describe_release,
    make_artifact,
)
from fb_marketplace.pipelines.release.pack_photos import pack_photos, write_photo_files
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import DUAL_ENCODER, SEARCH_ARTIFACTS
from fb_marketplace_serving.release.photo_store import FOLDER
from fb_marketplace_serving.release.pointer import publish
from fb_marketplace_serving.search.listings.listing import read_listings
from fb_marketplace_serving.storage.lake import Lake

DUAL_PARTS = (*DUAL_ENCODER, "dual_encoder_report")
PRODUCTS = pd.DataFrame(
    {
        "row": [0, 1],
        "product_id": ["q", "p"],
        "title": ["Oak table", "Bike"],
        "description": ["Solid oak.", "Two wheels."],
        "price": [45.0, 0.0],
        "currency": ["GBP", "GBP"],
        "category": ["Home", "Sport"],
        "category_path": ["Home / Tables", "Sport / Bikes"],
        "town": ["Leeds", None],
        "county": [None, None],
        "price_flag": [None, None],
        "created_at": [1_645_833_600, None],
        "seller": ["Ann", "Bob"],
    }
)

WEIGHTS = {
    "name": "timm/resnet18.a1_in1k",
    "source": "https://huggingface.co/timm/resnet18.a1_in1k",
    "sha256": None,
    "license": "apache-2.0",
}


def parameters(canaries):
    return ReleaseParameters(
        canaries=canaries,
        floors={},
        compare_with_current=True,
        bootstrap_samples=100,
        confidence=0.95,
        seed=0,
    )


@pytest.fixture
def release_parts(tmp_path, colour_encoder, store_photos, draw_photo):
    """Parts of a release in the lake."""
    images = store_photos({f"photo {seed}": draw_photo(seed) for seed in range(6)})
    encoder = open_encoder(colour_encoder)
    order = images.order("image_id").tolist()
    rows = images.take(order, ["image_id", "jpeg"]).to_pylist()
    vectors = [
        encoder.encode(canonical.decode_canonical(row["jpeg"])[None]).embeddings[0] for row in rows
    ]
    index = Index.build_flat(np.stack(vectors), [row["image_id"] for row in rows], list("ppqqqp"))
    index_bytes, ids = index.to_bytes()
    listings = build_listing_cards(PRODUCTS)
    parts = small_search.make_parts(
        pq.read_table(io.BytesIO(listings)), index.image_ids, index.product_ids
    )
    files = {
        "encoder": colour_encoder,
        "image_index": index_bytes,
        "image_index_ids": ids,
        "listings": listings,
        "descriptions": build_descriptions(PRODUCTS),
        "release_photos": pack_photos(images),
        "release_display_photos": pack_photos(images),
        "release_measures": b"case by case",
    } | parts
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / FOLDER).mkdir(parents=True)
    stored = {name: FileRef(str(tmp_path / name)) for name in files}
    existing = {}
    for file in write_photo_files(images, stored["release_photos"], existing):
        (tmp_path / FOLDER / file.name).write_bytes(file.data)
        existing[file.name] = len(file.data)
    return stored | {
        "lake": Lake(str(tmp_path)),
        "encoder_report": {"weights": [WEIGHTS]},
        **dict.fromkeys(DUAL_PARTS, Skipped("search.dual_encoder is null")),
        "vision_labels": ["Arts", "Home", "Sport"],
        "images": images,
        "content_digests": {"products": "abc", "images": "def"},
        "vision_metrics": {"test": {"top1": 0.5}},
        "retrieval_metrics": {"recall": 0.4},
        "ranking_metrics": {"ndcg": 0.3},
        "price_insight_metrics": {"coverage": 0.8},
        "release_photo_files": existing,
        "vector_tables": {},
        "gate_verdict": {"rejected": []},
        "abstention": {"photos": {"threshold": 0.7, "error": 0.05, "groups": 3}},
        "parameters": parameters(3),
    }


def test_server_opens_the_built_release(release_parts, tmp_path):
    manifest = build_manifest(**release_parts).model_copy(update={"version": "v1"})
    publish(Lake(str(tmp_path)), manifest)

    opened = Release.open(str(tmp_path))

    assert opened.manifest == manifest
    assert opened.manifest.counts == {"photos": 6, "products": 2, "photo_files": 1}
    assert opened.manifest.metrics == {
        "vision": {"test": {"top1": 0.5}},
        "retrieval": {"recall": 0.4},
        "ranking": {"ndcg": 0.3},
        "typical_prices": {"coverage": 0.8},
        "gate": {"rejected": []},
    }
    assert [weights.model_dump() for weights in opened.manifest.weights] == [WEIGHTS]
    assert opened.manifest.abstention.threshold == 0.7
    assert opened.photos.read("photo 3") == photo_of(release_parts["images"], "photo 3")
    assert opened.search.listing_features.product_ids == ("p", "q")


def test_text_canaries_have_encoder_output(release_parts):
    values = {item.text: item for item in build_manifest(**release_parts).text_canaries}

    assert values.keys() == {"Oak table", "Bike"}
    result = small_search.text_encoder().encode(["Oak table"])
    np.testing.assert_allclose(
        values["Oak table"].text_embedding, result.text_embedding[0], atol=1e-6
    )
    np.testing.assert_allclose(
        values["Oak table"].text_to_image_embedding, result.text_to_image_embedding[0], atol=1e-6
    )


def test_manifest_without_text_search_is_valid(release_parts, tmp_path):
    names = {
        "encoder": "encoder",
        "image_index": "image_index",
        "image_index_ids": "image_index_ids",
        "listings": "listings",
        "descriptions": "descriptions",
        "release_photos": "release_photos",
        "release_display_photos": "release_display_photos",
        "release_measures": "release_measures",
    }

    manifest = describe_release(
        release_parts["lake"],
        {name: release_parts[stored] for name, stored in names.items()},
        release_parts["release_photo_files"],
        release_parts["abstention"],
        release_parts["vision_labels"],
        release_parts["images"],
        release_parts["content_digests"],
        {},
        1,
    )

    assert not manifest.is_searchable
    assert Release.from_manifest(Lake(str(tmp_path)), manifest).search is None


def photo_of(images, image_id):
    rows = images.read(["image_id", "jpeg"]).to_pylist()
    return next(row["jpeg"] for row in rows if row["image_id"] == image_id)


def test_canaries_are_spread_over_the_photos(release_parts):
    assert [canary.image_id for canary in build_manifest(**release_parts).canaries] == [
        "photo 0",
        "photo 2",
        "photo 5",
    ]


def test_canaries_are_at_most_the_photos(release_parts):
    values = release_parts | {"parameters": parameters(20)}

    assert len({canary.image_id for canary in build_manifest(**values).canaries}) == 6


def test_canary_finds_itself_first(release_parts):
    for canary in build_manifest(**release_parts).canaries:
        assert canary.neighbors[0] == canary.image_id


def test_paths_are_relative_to_the_lake(release_parts):
    assert {item.path for item in build_manifest(**release_parts).artifacts.values()} == {
        "encoder",
        "image_index",
        "image_index_ids",
        "listings",
        "descriptions",
        "release_photos",
        "release_display_photos",
        "release_measures",
        *SEARCH_ARTIFACTS,
    }


@pytest.mark.parametrize("url", ["/elsewhere/encoder", "{lake}-beside/encoder"])
def test_file_outside_the_lake_is_rejected(release_parts, url):
    outside = FileRef(url.format(lake=release_parts["lake"].url))

    with pytest.raises(ValueError, match="lake"):
        make_artifact(release_parts["lake"], outside)


def test_data_digest_depends_on_the_data(release_parts):
    other = release_parts | {"content_digests": {"products": "abc", "images": "other"}}

    assert build_manifest(**release_parts).data_digest != build_manifest(**other).data_digest


def test_server_reads_the_listings(release_parts):
    listings = read_listings(release_parts["listings"].read())

    assert list(listings) == ["p", "q"]
    assert listings["q"].title == "Oak table"
    assert listings["p"].town is None


def test_listings_file_does_not_depend_on_row_order():
    assert build_listing_cards(PRODUCTS.iloc[::-1]) == build_listing_cards(PRODUCTS)


def test_build_writes_no_files(release_parts, tmp_path):
    before = sorted(path for path in tmp_path.rglob("*"))
    build_manifest(**release_parts)

    assert sorted(path for path in tmp_path.rglob("*")) == before


NO_SEARCHES = dict.fromkeys(("ranker", "ranking_metrics"), Skipped("no searches"))
DUAL_WEIGHTS = {"name": "dual encoder", "source": "folder clip", "sha256": None, "license": "mit"}


def test_release_has_the_dual_encoder_and_its_license(release_parts, tmp_path):
    contents = tower(), small_search.tokenizer(padded_to=8)
    files = {}
    for name, content in zip(DUAL_ENCODER, contents, strict=True):
        (tmp_path / name).write_bytes(content)
        files[name] = FileRef(str(tmp_path / name))
    dual = files | {"dual_encoder_report": {"weights": [DUAL_WEIGHTS]}}
    manifest = build_manifest(**release_parts | dual).model_copy(update={"version": "v1"})
    publish(Lake(str(tmp_path)), manifest)

    opened = Release.open(str(tmp_path))

    assert [weights.model_dump() for weights in opened.manifest.weights] == [WEIGHTS, DUAL_WEIGHTS]
    assert opened.manifest.artifacts.keys() > {*DUAL_ENCODER}
    parts = (release_parts[name].read() for name in ("text_encoder", "text_tokenizer"))
    expected = TextEncoder.from_bytes(*parts, *contents).encode(["Bike"]).text_to_image_embedding
    embedding = opened.search.text_encoder.encode(["Bike"]).text_to_image_embedding
    np.testing.assert_array_equal(embedding, expected)


def test_tokenizer_without_a_text_tower_is_left_out(release_parts, tmp_path):
    tokenizer = tmp_path / "dual_tokenizer"
    tokenizer.write_bytes(small_search.tokenizer(padded_to=8))
    dual = {
        "dual_tokenizer": FileRef(str(tokenizer)),
        "dual_encoder_report": {"weights": [DUAL_WEIGHTS]},
    }

    manifest = build_manifest(**release_parts | NO_PHOTOS | dual)

    assert manifest.artifacts.keys().isdisjoint(DUAL_ENCODER)
    assert [weights.model_dump() for weights in manifest.weights] == [WEIGHTS]


NO_PRICES = dict.fromkeys(("price_insights", "price_insight_metrics"), Skipped("no prices"))
NO_PHOTOS = dict.fromkeys(
    (
        *("encoder", "image_index", "image_index_ids", "vision_labels", "abstention"),
        *("text_to_image_index", "text_to_image_index_ids", "vision_metrics", "retrieval_metrics"),
    ),
    Skipped("no photos"),
)


@pytest.mark.parametrize(
    ("missing", "lacks"),
    [
        (NO_SEARCHES | NO_PRICES, {"ranker": "no searches", "price_insights": "no prices"}),
        (
            NO_PHOTOS,
            dict.fromkeys(("photo_search", "category_prediction", "text_to_image"), "no photos"),
        ),
        ({"abstention": Skipped("one category")}, {"category_prediction": "one category"}),
    ],
)
def test_release_lacks_what_was_skipped(release_parts, tmp_path, missing, lacks):
    manifest = build_manifest(**release_parts | missing).model_copy(update={"version": "v1"})
    publish(Lake(str(tmp_path)), manifest)

    opened = Release.open(str(tmp_path))

    assert opened.manifest.lacks == lacks
    assert not missing.keys() & opened.manifest.artifacts.keys()
    assert bool(opened.manifest.labels) == ("category_prediction" not in lacks)
