from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from fb_marketplace.sample.places import PLACES
from fb_marketplace.sample.prices import format_price, is_absurd, is_joke, round_price
from fb_marketplace.sample.products import generate_product
from fb_marketplace.sample.records import generate_listings
from fb_marketplace.sample.rendering.appearance import LOGOS
from fb_marketplace.sample.rendering.objects.registry import OBJECT_TYPES
from fb_marketplace.sample.rendering.scenes import render_photo
from fb_marketplace.sample.taxonomy import LEAVES, ROOTS


def test_listing_does_not_depend_on_bucket_size() -> None:
    few, many = generate_listings(5, 10), generate_listings(5, 40)

    assert few == many[:10]


def test_categories_have_13_roots_and_2_to_5_levels() -> None:
    depths = {len(leaf.path.split(" / ")) for leaf in LEAVES}

    assert len(ROOTS) == 13
    assert depths == {2, 3, 4, 5}


def test_every_category_has_drawable_objects() -> None:
    assert {leaf.object_type for leaf in LEAVES} == set(OBJECT_TYPES)


def test_sellers_live_in_at_least_60_places() -> None:
    assert len(set(PLACES)) >= 60


@pytest.mark.parametrize("pounds", [1, 123, 1234, 12_345, 1_234_567, 111, 999, 99_999, 111.5])
def test_joke_prices_are_recognized(pounds: float) -> None:
    assert is_joke(pounds)
    assert not is_absurd(pounds)


@pytest.mark.parametrize("pounds", [0, 2, 11, 22, 99, 124, 1112, 100_000])
def test_ordinary_prices_are_no_jokes(pounds: float) -> None:
    assert not is_joke(pounds)
    assert not is_absurd(pounds)


def test_asking_prices_are_no_jokes() -> None:
    params = [round_price(amount) for amount in np.geomspace(0.1, 1e6, 3000)]

    assert not any(is_joke(amount) or is_absurd(amount) for amount in params)


def test_prices_have_thousands_separator_and_pence() -> None:
    assert format_price(1234) == "£1,234.00"


def test_worn_items_cost_less() -> None:
    products = [generate_product(1, number) for number in range(1500)]
    new = [one.amount / one.leaf.price for one in products if one.appearance.wear == 0]
    old = [one.amount / one.leaf.price for one in products if one.appearance.wear > 0.5]

    assert median(new) > 1.5 * median(old)


@pytest.mark.parametrize("kind", OBJECT_TYPES)
@pytest.mark.parametrize("size", [0, 2])
def test_every_object_can_be_drawn_at_every_size(kind: str, size: int) -> None:
    look = replace(generate_product(1, 0).appearance, size=size, logo=LOGOS[size])

    first, second = (
        render_photo(look, kind, (96, 72), np.random.default_rng([1, slot]), slot)
        for slot in (0, 1)
    )

    assert first.size == (96, 72)
    assert first.mode == "RGB"
    assert first.tobytes() != second.tobytes()


def test_variants_differ_in_detail() -> None:
    product = generate_product(1, 0)
    sibling = replace(
        product.appearance, details=tuple(1 - value for value in product.appearance.details)
    )

    first, second = (
        np.asarray(
            render_photo(look, product.leaf.object_type, (200, 150), np.random.default_rng(3), 0),
            float,
        )
        for look in (product.appearance, sibling)
    )

    assert np.abs(first - second).max() > 60
