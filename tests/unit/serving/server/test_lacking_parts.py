"""Releases that lack parts: they open, and the server does without the parts."""

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from support.predict_client import PREDICTIONS, problem, send
from support.search_client import ask

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import PARTS, Manifest
from fb_marketplace_serving.release.pointer import publish
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.storage.lake import Lake

NO_CLASSES = {"labels": (), "abstention": None}
NO_PHOTOS = NO_CLASSES | {"canaries": (), "embedding_dimension": 0}


def without(manifest, *parts, **changes):
    """The manifest of the same release without some parts."""
    removed = {name for part in parts for name in PARTS[part]}
    values = manifest.model_dump() | changes
    values["artifacts"] = {
        name: artifact for name, artifact in values["artifacts"].items() if name not in removed
    }
    return Manifest.model_validate(values | {"lacks": dict.fromkeys(parts, "there are none")})


@pytest.fixture
def serve(tmp_path, shop_draft):
    """Publish the shop without some parts and return a client of its server."""

    def serve(*parts, **changes):
        publish(Lake(str(tmp_path)), without(shop_draft, *parts, **changes))
        return TestClient(create_app(Release.open(str(tmp_path)), Settings()))

    return serve


def test_release_without_photos_is_searched_by_words(serve, paint):
    client = serve("photo_search", "category_prediction", "text_to_image", **NO_PHOTOS)

    hits = ask(client, q="blue lamp")["hits"]

    assert hits[0]["product_id"] == "p-lamp"
    assert {hit["image_id"] for hit in hits} == {None}
    assert {source["source"] for source in hits[0]["sources"]} == {"bm25", "text"}
    assert ask(client)["total_listings"] == 7
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/search", *PREDICTIONS])
def test_photo_is_refused_without_photo_search(serve, paint, path):
    client = serve("photo_search", "category_prediction", "text_to_image", **NO_PHOTOS)

    body = problem(send(client, path, paint()), 404)

    assert body["type"].endswith("no_photo_search")
    assert "there are none" in body["detail"]


def test_prediction_without_classifier_has_no_category(serve, paint):
    client = serve("category_prediction", **NO_CLASSES)

    assert send(client, "/predict/image", paint()).json() == {
        "category": None,
        "confidence": None,
        "abstained": True,
        "probabilities": {},
    }
    assert send(client, "/predict/similar_images", paint()).json()["hits"]
    assert send(client, "/search", paint()).json()["hits"]


def test_hits_without_ranker_are_ordered_by_fused_rank(serve):
    client = serve("ranker")

    hits = ask(client, q="red chair", explain=True)["hits"]

    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    for hit in hits:
        reasons = {r["feature"]: r["contribution"] for r in hit["explanation"]["reasons"]}
        assert hit["explanation"]["base"] == 0
        assert reasons.pop("fused") == pytest.approx(hit["score"])
        assert set(reasons.values()) == {0}


def test_hits_without_price_insights_have_no_typical_price(serve):
    hits = ask(serve("price_insights"))["hits"]

    assert {hit["typical_price"] for hit in hits} == {None}
    assert all(hit["notes"] == [] for hit in hits)


def test_words_search_no_photos_without_a_projection(serve):
    hits = ask(serve("text_to_image"), q="red chair")["hits"]

    assert {source["source"] for hit in hits for source in hit["sources"]} == {"bm25", "text"}


def test_release_names_what_it_lacks(serve):
    client = serve("ranker", "price_insights")

    assert client.get("/release").json()["lacks"] == dict.fromkeys(
        ("ranker", "price_insights"), "there are none"
    )


@pytest.mark.parametrize("part", [part for part, names in PARTS.items() if names])
def test_lacking_part_must_be_named(shop_draft, part):
    if part == "photo_search":
        values = without(shop_draft, part, "category_prediction", **NO_PHOTOS)
    else:
        values = without(shop_draft, part)
    with pytest.raises(ValidationError, match="missing artifacts"):
        Manifest.model_validate(values.model_dump() | {"lacks": {}})
    with pytest.raises(ValidationError, match="lacks"):
        Manifest.model_validate(shop_draft.model_dump() | {"lacks": {part: "there are none"}})


@pytest.mark.parametrize("changes", [{"labels": ()}, {"abstention": None}])
def test_labels_and_abstention_rule_are_both_there_or_neither(shop_draft, changes):
    with pytest.raises(ValidationError, match="abstention"):
        Manifest.model_validate(shop_draft.model_dump() | changes)


def test_manifest_lacks_nothing_by_default(shop_draft):
    values = shop_draft.model_dump()
    del values["lacks"]

    assert Manifest.model_validate(values).lacks == {}
