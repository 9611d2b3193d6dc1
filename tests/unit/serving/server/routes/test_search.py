"""Search over HTTP in a shop of seven listings, two of them equal."""

import pytest
from fastapi.testclient import TestClient
from support.search_client import ONCE, ask, refusal, send

from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings


@pytest.fixture
def client(opened_shop):
    return TestClient(create_app(opened_shop, Settings()))


def test_words_find_listing_that_contains_them(client):
    body = ask(client, q="blue lamp")

    assert body["release"] == "v1"
    places = {hit["product_id"]: hit["sources"] for hit in body["hits"]}
    by_words = {
        product: place["rank"]
        for product, output in places.items()
        for place in output
        if place["source"] == "bm25"
    }
    assert by_words == {"p-lamp": 1, "p-bike": 2}


def test_hit_has_listing_fields(client):
    hits = {hit["product_id"]: hit for hit in ask(client, q="oak")["hits"]}

    visible = hits["p-table"]
    assert {name: visible[name] for name in ("title", "price", "currency", "category_path")} == {
        "title": "Oak table",
        "price": 20.5,
        "currency": "GBP",
        "category_path": "Home & Garden / Tables",
    }
    assert (visible["category"], visible["town"], visible["county"]) == (
        "Home & Garden",
        "Hull",
        None,
    )
    assert visible["image_id"] == "img-green"
    assert hits["p-plain"]["image_id"] is None


def test_hits_are_sorted_by_score(client):
    scores = [hit["score"] for hit in ask(client, q="red chair")["hits"]]

    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1


def test_hit_has_rank_in_each_source(client):
    hits = ask(client, q="red chair")["hits"]

    for source in ("bm25", "text", "text_to_image"):
        ranked = [
            (place["rank"], place["similarity"])
            for hit in hits
            for place in hit["sources"]
            if place["source"] == source
        ]
        assert ranked
        similarities = [similarity for _, similarity in sorted(ranked)]
        assert similarities == sorted(similarities, reverse=True), source
    plain = next(hit for hit in hits if hit["product_id"] == "p-plain")
    assert "text_to_image" not in {place["source"] for place in plain["sources"]}


def test_search_without_words_returns_all_listings(client):
    body = ask(client)

    assert {hit["product_id"] for hit in body["hits"]} == ONCE
    assert (body["total"], body["total_listings"]) == (6, 7)
    assert all(hit["score"] == 0 and hit["sources"] == [] for hit in body["hits"])
    assert [hit["image_id"] for hit in body["hits"] if hit["product_id"] == "p-bike"] == [
        "img-grey"
    ]


def test_blank_words_are_no_query(client):
    assert ask(client, q="  \t") == ask(client)


@pytest.mark.parametrize("words", ["…!?", "zzz", "🚲", "红", "\0", "a" * 200])
def test_unmatched_words_are_answered(client, words):
    assert ask(client, q=words)["release"] == "v1"


def test_duplicate_listings_are_grouped(client):
    hits = {hit["product_id"]: hit["duplicates"] for hit in ask(client)["hits"]}

    assert hits.pop("p-chair") == ["p-copy"]
    assert set(map(tuple, hits.values())) == {()}


@pytest.mark.parametrize(
    "query", [{}, {"sort": "price_asc"}, {"diversity": 0.7}, {"near": "Leeds"}]
)
def test_explanation_sums_to_score(client, query):
    hits = ask(client, q="old oak table", explain=True, **query)["hits"]

    assert len(hits) == 6
    for hit in hits:
        parts = [reason["contribution"] for reason in hit["explanation"]["reasons"]]
        assert hit["explanation"]["base"] + sum(parts) == pytest.approx(hit["score"], abs=1e-6)
        assert [abs(part) for part in parts] == sorted(map(abs, parts), reverse=True)


def test_explanation_splits_words(client):
    hits = {hit["product_id"]: hit for hit in ask(client, q="old oaks", explain=True)["hits"]}

    words = hits["p-plain"]["explanation"]["words"]
    assert words.keys() == {"old", "oak"}
    bm25 = next(
        place["similarity"] for place in hits["p-plain"]["sources"] if place["source"] == "bm25"
    )
    assert sum(words.values()) == pytest.approx(bm25, abs=1e-5)
    assert hits["p-table"]["explanation"]["words"].keys() == {"oak"}
    assert hits["p-lamp"]["explanation"]["words"] == {}


def test_no_explanation_without_query_or_request(client):
    assert {hit["explanation"] for hit in ask(client, q="red chair")["hits"]} == {None}
    assert {hit["explanation"] for hit in ask(client, explain=True)["hits"]} == {None}


def test_price_insights_have_their_evidence(client):
    hits = {hit["product_id"]: hit for hit in ask(client, q="red chair")["hits"]}

    priced = {"p-bike", "p-chair", "p-copy", "p-old", "p-plain", "p-table"}
    assert hits["p-old"]["typical_price"] == {
        "low": 15,
        "high": 25,
        "comparables": sorted(priced - {"p-old"}),
    }
    assert hits["p-old"]["notes"] == []
    assert hits["p-lamp"]["typical_price"] is None
    unusual, elsewhere = hits["p-bike"]["notes"]
    assert unusual["kind"] == "unusual_price"
    assert unusual["products"] == sorted(priced - {"p-bike"})
    assert elsewhere["kind"] == "photo_elsewhere"
    assert elsewhere["products"] == ["p-table"]


def test_photo_finds_its_listing(client, canonical_photos):
    body = send(client, canonical_photos["img-blue"])

    (by_photo,) = [
        hit
        for hit in body["hits"]
        if {"source": "image", "rank": 1} in [
            {name: place[name] for name in ("source", "rank")} for place in hit["sources"]
        ]
    ]  # fmt: skip
    assert by_photo["product_id"] == "p-lamp"
    assert by_photo["image_id"] == "img-blue"
    assert by_photo["sources"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert {place["source"] for hit in body["hits"] for place in hit["sources"]} == {"image"}
    assert "p-plain" not in {hit["product_id"] for hit in body["hits"]}


def test_photo_and_words_are_combined(client, canonical_photos):
    body = send(client, canonical_photos["img-red"], q="blue", explain=True)

    sources = {place["source"] for hit in body["hits"] for place in hit["sources"]}
    assert sources == {"bm25", "text", "text_to_image", "image", "multimodal"}
    for hit in body["hits"]:
        total = hit["explanation"]["base"] + sum(
            reason["contribution"] for reason in hit["explanation"]["reasons"]
        )
        assert total == pytest.approx(hit["score"], abs=1e-6)


def test_photo_search_is_filtered_and_paged(client, canonical_photos):
    red = canonical_photos["img-red"]
    query = {"category": "Home & Garden", "max_price": 100}

    complete = send(client, red, **query)
    pages = [send(client, red, limit=1, offset=offset, **query) for offset in range(3)]

    assert {hit["product_id"] for hit in complete["hits"]} == {"p-chair", "p-old", "p-table"}
    assert [page["hits"][0] for page in pages] == complete["hits"]


def test_invalid_photo_is_rejected(client, canonical_photos):
    def post(data):
        return client.post("/search", files={"image": ("photo.jpg", data)})

    assert refusal(post(b"GIF89a" + bytes(99)), 415)
    assert refusal(post(b"hello"), 415)
    assert "ends early" in refusal(post(canonical_photos["img-red"][:-300]), 422)
    assert refusal(post(b""), 422)
    assert refusal(client.post("/search"), 422)
    assert refusal(
        client.post("/search?sort=distance", files={"image": canonical_photos["img-red"]}), 422
    )


def test_release_without_text_search_gives_404(release, canonical_photos):
    client = TestClient(create_app(release, Settings()))

    for answer in (
        client.get("/search", params={"q": "red chair"}),
        client.post("/search", files={"image": canonical_photos["img-red"]}),
    ):
        assert "v1" in refusal(answer, 404)
