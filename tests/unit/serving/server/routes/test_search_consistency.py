"""Every order, page, facet and threshold of a search covers the same listings."""

import random
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from support.search_client import refused
from support.search_consistency import check_consistency

from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings

UNUSUAL = {
    "stop words": "the and with for of",
    "one letter": "a",
    "digits": "12 345",
    "emoji": "🛋️ 🚲",
    "emoji and a word": "🪑 chair",
    "long word": "x" * 200,
    "many words": ("red oak chair " * 30)[:200],
    "punctuation": "!?*()[]{}\"'%_\\",
    "Cyrillic": "красный стул",
    "Arabic": "كرسي أحمر",
    "Chinese": "红色椅子",
    "Hangul and a word": "의자 chair",
    "accents": "rêd chàir",
    "full width": "ｒｅｄ ｃｈａｉｒ",
    "zero width": "red\u200bchair",
    "typo": "red chiar",
    "prices and places": "red chair under £15 in Leeds",
    "nothing but filters": "under £15",
    "operators": "red AND NOT chair OR -oak",
}


@pytest.fixture(scope="module", params=[0.0, 0.3], ids=["candidates", "threshold"])
def client(request, opened_shop):
    model = opened_shop.search.relevance_model._replace(threshold=request.param)
    release = replace(opened_shop, search=replace(opened_shop.search, relevance_model=model))
    return TestClient(create_app(release, Settings()))


@pytest.mark.parametrize("text", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_text_gives_consistent_results(client, text):
    check_consistency(client, "Leeds", q=text)


def test_words_and_filters_give_consistent_results(client):
    chance = random.Random(0)
    words = ["red", "blue", "oak", "chair", "table", "lamp", "old", "bike", "zzz"]
    totals = []
    for _ in range(12):
        query = {"q": " ".join(chance.sample(words, chance.randint(0, 3)))}
        if chance.random() < 0.3:
            query["max_price"] = chance.choice([11, 20.5, 100])
        if chance.random() < 0.3:
            query["category"] = chance.choice(["Home & Garden", "Home & Garden / Chairs"])
        if chance.random() < 0.3:
            query["radius_km"] = chance.choice([1, 50, 500])
        totals.append(check_consistency(client, chance.choice(["Leeds", "Bath"]), **query))

    assert len(set(totals)) > 2


def test_text_of_300_letters_is_refused_with_the_limit(client):
    assert "200" in str(refused(client, q="chair " * 50))
