from collections import defaultdict
from dataclasses import replace
from operator import attrgetter
from statistics import median

import numpy as np
import pytest

from fb_marketplace.sample.catalogue import CONDITIONS, KINDS, ROOTS
from fb_marketplace.sample.places import PLACES
from fb_marketplace.sample.prices import format_price, is_joke, round_price
from fb_marketplace.sample.products import Product, generate_product
from fb_marketplace.sample.records import generate_listings
from fb_marketplace.sample.rendering.scenes import render_photo
from fb_marketplace.sample.rendering.shapes import SHAPES


def test_listing_does_not_depend_on_bucket_size() -> None:
    few, many = generate_listings(5, 10), generate_listings(5, 40)

    assert few == many[:10]


def test_categories_have_13_roots_and_2_to_5_levels() -> None:
    depths = {len(kind.path.split(" / ")) for kind in KINDS}

    assert len(ROOTS) == 13
    assert depths == {2, 3, 4, 5}


def test_every_shape_is_sold() -> None:
    assert {kind.shape for kind in KINDS} == set(SHAPES)


def test_sellers_live_in_at_least_60_places() -> None:
    assert len(set(PLACES)) >= 60


@pytest.mark.parametrize("pounds", [1, 123, 1234, 12_345, 1_234_567, 111, 999, 99_999, 111.5])
def test_joke_prices_are_recognized(pounds: float) -> None:
    assert is_joke(pounds)


@pytest.mark.parametrize("pounds", [0, 2, 11, 22, 99, 124, 1112, 100_000])
def test_ordinary_prices_are_no_jokes(pounds: float) -> None:
    assert not is_joke(pounds)


def test_asking_prices_are_no_jokes() -> None:
    params = [round_price(amount) for amount in np.geomspace(0.1, 1e6, 3000)]

    assert not any(is_joke(amount) or amount > 100_000 for amount in params)


def test_prices_have_thousands_separator_and_pence() -> None:
    assert format_price(1234) == "£1,234.00"


@pytest.fixture(scope="module")
def products() -> list[Product]:
    return [generate_product(1, number) for number in range(1500)]


def test_worn_items_cost_less(products: list[Product]) -> None:
    new = [one.amount / one.model.kind.price for one in products if one.appearance.wear == 0]
    old = [one.amount / one.model.kind.price for one in products if one.appearance.wear > 0.5]

    assert median(new) > 1.5 * median(old)


@pytest.mark.parametrize("quality", ["look.size", "brand.worth", "material.worth"])
def test_better_models_cost_more(products: list[Product], quality: str) -> None:
    values = [attrgetter(quality)(one.model) for one in products]
    relative = [one.amount / one.model.kind.price for one in products]
    middle = median(values)

    low, high = (
        [price for price, value in zip(relative, values, strict=True) if chosen(value)]
        for chosen in (lambda value: value < middle, lambda value: value > middle)
    )

    assert median(high) > 1.2 * median(low)


def test_model_is_sold_in_several_colours(products: list[Product]) -> None:
    colours = defaultdict(set)
    for product in products:
        colours[product.model].add(product.colour)

    assert sum(len(names) > 1 for names in colours.values()) > len(colours) / 2


def test_colours_of_a_model_have_the_same_shape(products: list[Product]) -> None:
    looks = defaultdict(set)
    for product in products:
        look = product.appearance
        looks[product.model].add((look.shape, look.style, look.stretch, look.size, look.pattern))

    assert all(len(shapes) == 1 for shapes in looks.values())


def test_some_titles_do_not_name_the_product(products: list[Product]) -> None:
    named = [
        any(word in one.title.lower() for noun in one.model.kind.nouns for word in noun.split())
        for one in products
    ]

    assert 0.05 < 1 - sum(named) / len(named) < 0.2


def test_condition_shows_in_photo_and_price() -> None:
    conditions = sorted(CONDITIONS, key=lambda condition: condition.wear)

    assert [one.worth for one in conditions] == sorted(one.worth for one in conditions)[::-1]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_style_can_be_drawn_and_differs(shape: str) -> None:
    look = replace(generate_product(1, 0).appearance, shape=shape, pattern=1)

    pictures = [
        render_photo(
            replace(look, style=style, size=style), (96, 72), np.random.default_rng([1, style]), 0
        )
        for style in range(3)
    ]

    assert {(picture.size, picture.mode) for picture in pictures} == {((96, 72), "RGB")}
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_colour_shows_in_the_photo() -> None:
    look = replace(generate_product(1, 0).appearance, shape="suitcase", pattern=0, texture=None)

    red, blue = (
        np.asarray(
            render_photo(replace(look, body=body), (200, 150), np.random.default_rng(3), 0), float
        ).mean((0, 1))
        for body in ((190, 40, 40), (40, 40, 190))
    )

    assert red[0] - red[2] > blue[0] - blue[2] + 5
