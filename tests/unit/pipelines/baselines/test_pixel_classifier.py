import io

import pandas as pd
import pytest
from PIL import Image

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.baselines.pixel_classifier import (
    predict_from_pixels,
    train_pixel_model,
)

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


@pytest.fixture
def predict(store_file, parameters):
    """Trains on listings, and predicts them, or others."""

    def predict(listings, others=None):
        model = store_file("pixel_model", train_pixel_model(*listings, parameters))
        return predict_from_pixels(model, *(others or listings), parameters)

    return predict


def test_colors_predict_their_categories(visible, predict):
    result = predict(visible)

    assert result["predicted"].to_list() == result["category"].to_list()
    assert set(result["model"]) == {"pixels"}


def test_kept_model_predicts_present_listings(visible, predict, store_photos):
    products, splits, _ = visible
    evaluated = splits["split"] != "train"
    gone = splits.loc[evaluated, "product_id"].iloc[0]
    listings = products[products["product_id"] != gone], splits[splits["product_id"] != gone]
    new = {name: painted(COLOURS["Arts"]) for name in listings[1]["image_id"].dropna()}

    result = predict(visible, (*listings, store_photos(new, "new.lance")))

    assert gone not in set(result["product_id"])
    assert len(result) == evaluated.sum() - 2
    assert set(result["predicted"]) == {"Arts"}


def test_only_listings_with_evaluation_photos_are_predicted(visible, predict):
    _, splits, _ = visible
    measured = splits[(splits["split"] != "train") & splits["image_id"].notna()]

    result = predict(visible)

    assert result["product_id"].to_list() == measured["product_id"].to_list()


def test_photos_of_a_listing_are_averaged(visible, predict, store_photos):
    """Two of three photos show another category."""
    products, splits, _ = visible
    row = splits.index[splits["split"] == "test"][0]
    other = next(item for item in COLOURS if item != products.loc[row, "category"])
    more = pd.concat([splits.loc[[row]].assign(image_id=name) for name in ("x", "y")])
    photos_of = dict(zip(splits["image_id"], products["category"], strict=True))
    result = {
        image_id: painted(COLOURS[category])
        for image_id, category in photos_of.items()
        if isinstance(image_id, str)
    } | {name: painted(COLOURS[other]) for name in ("x", "y")}

    answers = predict(
        (products, pd.concat([splits, more]), store_photos(result, "more.lance"))
    ).set_index("product_id")

    assert answers.index.is_unique
    assert answers.loc[products.loc[row, "product_id"], "predicted"] == other


def test_missing_training_photos_are_rejected(visible, parameters):
    products, splits, images = visible
    splits.loc[splits["split"] == "train", "image_id"] = None

    with pytest.raises(UserError, match="categor"):
        train_pixel_model(products, splits, images, parameters)
