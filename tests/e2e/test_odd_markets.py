"""Small and odd markets: a run ends well, skips what cannot be trained, and the release is searched."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.builders.odd_market import PATHS, listings, write_market
from support.kedro_project import PROJECT, Place, serving

QUICK = ("one_listing", "one_category", "no_photos")
"""Markets of the slow tests; the others: `make stress TESTS=tests/e2e/test_odd_markets.py`."""

CLASSIFIER = {"category_prediction"}
PHOTOS = CLASSIFIER | {"photo_search", "text_to_image"}

UNCERTAIN = {"relevance_model"}
"""It needs a number of searches, which depends on the listings that fall into the validation split."""

FEW_FIELDS = ["product_id", "title", "category_path"]
SMALLEST_CLASS = "min_listings_per_category: 3"
RARE = {"category": "Rare / Things"}


@dataclass(frozen=True)
class Market:
    """A market, and the parts that its release lacks.

    Attributes:
        write: writes its bucket.
        lacks: parts that the release lacks.
        photos: number of photos of the first listing.
    """

    write: Callable[[Path], None]
    lacks: set[str]
    photos: int = 2


MARKETS = {
    "one_listing": Market(
        lambda raw: write_market(raw, listings(1)),
        CLASSIFIER | {"text_to_image", "ranker", "price_insights"},
    ),
    "three_listings": Market(
        lambda raw: write_market(raw, listings(3)), CLASSIFIER | {"ranker", "price_insights"}
    ),
    "ten_listings": Market(lambda raw: write_market(raw, listings(10)), CLASSIFIER),
    "one_category": Market(
        lambda raw: write_market(raw, listings(32, category=PATHS[0])), CLASSIFIER
    ),
    "one_listing_per_category": Market(
        lambda raw: write_market(
            raw, [row | {"category": f"Root {row['id']}"} for row in listings(32)]
        ),
        CLASSIFIER | {"price_insights"},
    ),
    "no_photos": Market(lambda raw: write_market(raw, listings(48), 0), PHOTOS, 0),
    "all_free_and_a_hundred_photos_of_one": Market(
        lambda raw: write_market(raw, listings(48, price="£0.00"), 1, photos={"p0000": 100}),
        {"price_insights"},
        100,
    ),
    "one_price_no_locations_and_a_rare_category": Market(
        lambda raw: write_market(
            raw,
            [
                row | (RARE if number in (40, 41) else {})
                for number, row in enumerate(listings(48, price="£20.00", location=""))
            ],
        ),
        set(),
    ),
    "no_descriptions": Market(
        lambda raw: write_market(raw, listings(48, product_description="")), set()
    ),
    "no_optional_columns": Market(
        lambda raw: write_market(raw, listings(48), columns=("id", "product_name", "category")),
        {"price_insights"},
    ),
}


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of tests, in which a listing needs only a title and a category."""
    folder = tmp_path_factory.mktemp("configuration") / "conf"
    shutil.copytree(PROJECT / "conf", folder)
    cleaning = folder / "test/parameters_cleaning.yml"
    parameters = yaml.safe_load(cleaning.read_text())
    parameters["cleaning"]["products"] = {"required_columns": FEW_FIELDS}
    cleaning.write_text(yaml.safe_dump(parameters))
    vision = folder / "test/parameters_vision.yml"
    vision.write_text(vision.read_text().replace("min_listings_per_category: 1", SMALLEST_CLASS))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in QUICK else pytest.mark.stress)
        for name in MARKETS
    ],
)
def test_odd_market_is_published_and_searched(
    clone: Path, configuration: Path, tmp_path: Path, name: str
) -> None:
    market = MARKETS[name]
    market.write(tmp_path / "raw")
    place = Place(clone, str(tmp_path / "raw"), str(tmp_path / "lake"))

    version = place.run(f"--conf-source={configuration}")

    manifest = json.loads(Path(place.lake, f"releases/{version}.json").read_text())
    assert set(manifest["lacks"]) - UNCERTAIN == market.lacks
    assert all(manifest["lacks"].values())
    roots = {row.partition(" / ")[0] for row in PATHS}
    assert "category_prediction" in market.lacks or set(manifest["labels"]) == roots
    with serving(place) as address, httpx.Client(base_url=address, timeout=30) as client:
        _check_release(client, market, version)
        _check_words(client, market)
        _check_photo(client, market, tmp_path / "raw/images/p0000-0.jpg")


def _check_release(client: httpx.Client, market: Market, version: str) -> None:
    release = _ask(client, "/release")
    assert release["version"] == version
    assert set(release["lacks"]) - UNCERTAIN == market.lacks
    assert client.get("/").status_code == 200
    assert client.get("/readyz").status_code == 200


def _check_words(client: httpx.Client, market: Market) -> None:
    everything = _ask(client, "/search", limit=100)
    assert everything["total_listings"] >= 1
    found = _ask(client, "/search", q="used table number 0", explain=True)["hits"]
    (first,) = (hit for hit in found if "p0000" in (hit["product_id"], *hit["duplicates"]))
    # The encoders and the ranker of tests have learned next to nothing.
    assert {source["source"]: source["rank"] for source in first["sources"]}["bm25"] == 1
    if "price_insights" in market.lacks:
        assert {hit["typical_price"] for hit in everything["hits"]} == {None}
    for category in _ask(client, "/release")["categories"]:
        assert _ask(client, "/search", category=category)["total_listings"] >= 1
    assert len(_ask(client, "/products/p0000")["image_ids"]) == market.photos


def _check_photo(client: httpx.Client, market: Market, photo: Path) -> None:
    if "photo_search" in market.lacks:
        for path in ("/search", "/predict/image", "/predict/similar_images"):
            refused = client.post(path, files={"image": b"a photo"})
            assert refused.status_code == 404
            assert "no photo search" in refused.json()["detail"]
        return
    files = {"image": photo.read_bytes()}
    nearest = client.post("/predict/similar_images", files=files).json()["hits"][0]
    assert nearest["image_id"] == "p0000-0"
    hits = client.post("/search", files=files, params={"limit": 100}).json()["hits"]
    assert "p0000" in {name for hit in hits for name in (hit["product_id"], *hit["duplicates"])}
    predicted = client.post("/predict/image", files=files).json()
    assert (predicted["category"] is None) == ("category_prediction" in market.lacks)


def _ask(client: httpx.Client, path: str, **parameters: Any) -> Any:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()
