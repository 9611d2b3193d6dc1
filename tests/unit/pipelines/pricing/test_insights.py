import numpy as np
import pandas as pd
import pytest

from fb_marketplace.pipelines.pricing.insights import find_photos_elsewhere, find_unusual_prices
from fb_marketplace.pipelines.pricing.price_intervals import PriceInterval
from fb_marketplace_serving.search.listings.price_insights import PhotoElsewhere, UnusualPrice


def unusual(*prices, low=20.0, high=80.0, similar=()):
    """Insights of listings p0, p1, …, comparable with all given rows."""
    listed = pd.DataFrame(
        {
            "product_id": [f"p{row}" for row in range(len(prices))],
            "price": np.float64(prices),
            "currency": "GBP",
        }
    )
    typical = PriceInterval(np.full(len(prices), low), np.full(len(prices), high), 1.0)
    counts = np.full(len(prices), 12, np.int32)
    return find_unusual_prices(listed, typical, counts, [list(similar)] * len(prices), 2.0)


def test_price_beyond_factor_is_reported_on_either_side():
    assert unusual(9.99, 10.0, 20.0, 80.0, 160.0, 160.01).keys() == {"p0", "p5"}


def test_unusual_price_shows_comparable_range():
    (note,) = unusual(5.5, 40.0, 30.0, similar=[1, 2])["p0"]

    assert note.text == "Comparable listings cost £20–£80; this one costs £5.50."
    assert note.kind == "unusual_price"
    assert note.evidence == UnusualPrice(20, 80, 12, ("p1", "p2"))


def test_no_interval_gives_no_unusual_price():
    assert unusual(1.0, 5000.0, low=np.nan, high=np.nan) == {}


@pytest.mark.parametrize(
    ("price", "theirs", "noted"), [(5, 9, 0), (5, 11, 1), (5, 500, 1), (500, 210, 0), (500, 190, 1)]
)
def test_price_near_a_similar_listing_is_not_reported(price, theirs, noted):
    assert len(unusual(price, 30, theirs, similar=[1, 2]).get("p0", [])) == noted


PHOTOS = {"a1": "a", "b1": "b", "c1": "c", "d1": "d"}


def elsewhere(copies, *, photos=PHOTOS, same=None, most=3, **offers):
    """Notes of listings by name, each (price, town); photos of equal digest are the same file."""
    offers = {"a": (10.0, "Leeds")} | offers
    products = pd.DataFrame(
        [
            {
                "product_id": name,
                "title": f"A chair of {name}",
                "price": price,
                "currency": "GBP",
                "town": town,
            }
            for name, (price, town) in offers.items()
        ]
    )
    image_products = pd.DataFrame(
        [
            {"image_id": image, "product_id": product}
            for image, product in photos.items()
            if product in offers
        ]
    )
    groups = pd.DataFrame(
        [
            {"image_id": image, "group": group[0], "kind": "exact"}
            for group in copies
            for image in group
        ]
    )
    digests = image_products[["image_id"]].assign(
        source_sha256=image_products["image_id"],
        sha256=[(same or {}).get(image, image) for image in image_products["image_id"]],
    )
    return find_photos_elsewhere(products, image_products, groups, digests, most)


def test_photo_at_other_price_is_reported_in_both():
    result = elsewhere([["a1", "b1"]], same={"a1": "x", "b1": "x"}, b=(30.0, "Leeds"))

    assert result.keys() == {"a", "b"}
    (note,) = result["a"]
    assert note.kind == "photo_elsewhere"
    assert note.text == "A photo of this listing is also in “A chair of b” (Leeds, £30)."
    assert note.evidence == PhotoElsewhere("b", "a1", "b1", 30.0, "Leeds", "exact")


def test_photo_in_other_town_is_reported():
    assert elsewhere([["a1", "b1"]], b=(10.0, "York")).keys() == {"a", "b"}


def test_copy_at_same_price_and_town_is_not_reported():
    assert elsewhere([["a1", "b1"]], b=(10.0, "leeds")) == {}


def test_unknown_town_is_no_other_town():
    assert elsewhere([["a1", "b1"]], b=(10.0, None)) == {}
    (note,) = elsewhere([["a1", "b1"]], b=(12.5, None))["a"]
    assert note.text.endswith("“A chair of b” (£12.50).")
    assert note.evidence.town is None


def test_repeated_photo_in_one_listing_is_not_reported():
    assert elsewhere([["a1", "a2"]], photos={"a1": "a", "a2": "a"}) == {}


def test_near_duplicate_photo_is_labeled():
    (note,) = elsewhere([["a1", "b1"]], b=(30.0, "Leeds"))["a"]

    assert note.text.startswith("A nearly identical photo is also in")
    assert note.evidence.copy == "near"


def test_equal_files_in_a_group_are_exact():
    offers = {"b": (30.0, "Leeds"), "c": (40.0, "Leeds"), "d": (50.0, "Leeds")}
    same = {"a1": "x", "b1": "x", "c1": "y", "d1": "y"}

    result = elsewhere([["a1", "b1", "c1", "d1"]], same=same, **offers)

    assert [(note.evidence.product_id, note.evidence.copy) for note in result["a"]] == [
        ("b", "exact"),
        ("c", "near"),
        ("d", "near"),
    ]


def test_insights_are_limited_with_strongest_first():
    offers = {"b": (30.0, "Leeds"), "c": (10.0, "York"), "d": (30.0, "York")}

    result = elsewhere([["a1", "b1", "c1", "d1"]], most=2, **offers)

    assert [note.evidence.product_id for note in result["a"]] == ["d", "b"]


def test_exact_photo_is_preferred_among_equal_listings():
    offers = {"b": (30.0, "York"), "c": (30.0, "York")}
    same = {"a1": "x", "c1": "x"}

    (note,) = elsewhere([["a1", "b1", "c1"]], same=same, **offers)["a"]

    assert note.evidence.product_id == "c"


def test_two_photos_of_one_other_listing_are_reported_once():
    photos = {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}

    result = elsewhere([["a1", "b1"], ["a2", "b2"]], photos=photos, b=(30.0, "Leeds"))

    assert [note.evidence.image_id for note in result["a"]] == ["a1"]


def test_thousands_of_copies_are_handled_quickly():
    count = 2000
    photos = {f"{row:04}.1": f"{row:04}" for row in range(count)}
    offers = {f"{row:04}": (10.0 + row % 7, f"Town {row % 50}") for row in range(count)}

    result = elsewhere([list(photos)], photos=photos, most=3, **offers)

    assert max(map(len, result.values())) == 3
    assert len(result) == count
