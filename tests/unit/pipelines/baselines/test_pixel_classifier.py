import io

import pandas as pd
import pytest
from PIL import Image

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.baselines.pixel_classifier import predict_from_pixels

COLOURS = {"Home": (200, 40, 40), "Sport": (40, 200, 40), "Arts": (40, 40, 200)}


def painted(colour) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def visible(draw_listings, store_photos):
    """Listings with one photo in the color of the category; the last has none."""
    products, splits = draw_listings(40)
    splits.loc[39, "image_id"] = None
    result = {
        image_id: painted(COLOURS[category])
        for image_id, category in zip(splits["image_id"], products["category"], strict=True)
        if isinstance(image_id, str)
    }
    return products, splits, store_photos(result)


def test_colors_predict_their_categories(visible, parameters):
    products, splits, images = visible

    result = predict_from_pixels(products, splits, images, parameters)

    assert result["predicted"].to_list() == result["category"].to_list()
    assert set(result["model"]) == {"pixels"}


def test_only_listings_with_evaluation_photos_are_predicted(visible, parameters):
    products, splits, images = visible
    measured = splits[(splits["split"] != "train") & splits["image_id"].notna()]

    result = predict_from_pixels(products, splits, images, parameters)

    assert result["product_id"].to_list() == measured["product_id"].to_list()


def test_photos_of_a_listing_are_averaged(visible, parameters, store_photos):
    """Two of three photos show another category."""
    products, splits, _ = visible
    params = splits.index[splits["split"] == "test"][0]
    other = next(item for item in COLOURS if item != products.loc[params, "category"])
    more = pd.concat([splits.loc[[params]].assign(image_id=name) for name in ("x", "y")])
    photos_of = dict(zip(splits["image_id"], products["category"], strict=True))
    result = {
        image_id: painted(COLOURS[category])
        for image_id, category in photos_of.items()
        if isinstance(image_id, str)
    } | {name: painted(COLOURS[other]) for name in ("x", "y")}

    answers = predict_from_pixels(
        products, pd.concat([splits, more]), store_photos(result, "more.lance"), parameters
    ).set_index("product_id")

    assert answers.index.is_unique
    assert answers.loc[products.loc[params, "product_id"], "predicted"] == other


def test_missing_training_photos_are_rejected(visible, parameters):
    products, splits, images = visible
    splits.loc[splits["split"] == "train", "image_id"] = None

    with pytest.raises(UserError, match="categor"):
        predict_from_pixels(products, splits, images, parameters)
