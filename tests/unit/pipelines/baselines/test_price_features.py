import numpy as np
import pytest

from fb_marketplace.pipelines.baselines.price_features import (
    linear_features,
    path_prefixes,
    price_table,
)


def test_path_prefixes_are_longest_first():
    assert path_prefixes("Home > Beds > Bunks", " > ") == [
        "Home > Beds > Bunks",
        "Home > Beds",
        "Home",
    ]


def test_path_is_split_into_levels_and_missing_town_is_empty(draw_listings):
    products = draw_listings(6)[0].assign(category_path="Home / Beds / Bunks / High")

    result = price_table(products, " / ")

    assert result.loc[0, ["category_1", "category_2", "category_3"]].to_list() == [
        "Home",
        "Home / Beds",
        "Home / Beds / Bunks",
    ]
    assert result.loc[0, "town"] == ""
    assert result.loc[5, "photos"] == pytest.approx(np.log(2))


def test_price_is_no_feature(draw_listings):
    products, _ = draw_listings(10)

    dearer = price_table(products.assign(price=products["price"] * 9), " / ")

    assert dearer.equals(price_table(products, " / "))


def test_unseen_category_and_town_are_accepted(draw_listings, parameters):
    products, _ = draw_listings(40)
    table = price_table(products, " / ")
    strange = price_table(
        products.assign(category_path="Boats / Sails", town="Nowhere", county="None"), " / "
    )

    features = linear_features(parameters.price).fit(table)

    assert features.transform(strange).shape[0] == 40
