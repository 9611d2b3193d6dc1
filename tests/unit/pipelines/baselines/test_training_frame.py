import pandas as pd
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.baselines.training_frame import (
    filter_meant_prices,
    join_splits,
)
from fb_marketplace.skipping import InsufficientDataError


def test_listing_with_many_photos_is_one_row(draw_listings):
    products, splits = draw_listings(20)
    twice = pd.concat([splits, splits.assign(image_id="another")])

    listed = join_splits(products.iloc[::-1], twice)

    assert listed["product_id"].to_list() == products["product_id"].to_list()
    assert listed["split"].to_list() == splits["split"].to_list()


def test_flagged_prices_are_excluded(draw_listings):
    products, splits = draw_listings(30)
    products.loc[3, "price_flag"] = "joke"

    assert "p003" not in set(filter_meant_prices(products, splits)["product_id"])
    assert len(filter_meant_prices(products, splits)) == 29


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"price_flag": "zero"}, r"\b0 of 30 listings"),
        ({"price": 20.0}, r"\b1 different values"),
    ],
)
def test_prices_that_teach_nothing_are_insufficient(draw_listings, changed, message):
    products, splits = draw_listings(30)

    with pytest.raises(InsufficientDataError, match=message):
        filter_meant_prices(products.assign(**changed), splits)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_empty_split_is_rejected(draw_listings, split):
    products, splits = draw_listings(20)

    with pytest.raises(UserError, match=f"'{split}': 0") as parameters:
        join_splits(products, splits[splits["split"] != split])

    assert "\n" not in str(parameters.value)
