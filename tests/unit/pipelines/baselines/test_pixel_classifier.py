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
def shown(draw_listings, store_photos):
    """Listings whose one photo has the colour of the category; the last listing has none."""
    products, splits = draw_listings(40)
    splits.loc[39, "image_id"] = None
    found = {
        image_id: painted(COLOURS[category])
        for image_id, category in zip(splits["image_id"], products["category"], strict=True)
        if isinstance(image_id, str)
    }
    return products, splits, store_photos(found)


def test_colors_predict_their_categories(shown, told):
    products, splits, images = shown

    found = predict_from_pixels(products, splits, images, told)

    assert found["answered"].to_list() == found["category"].to_list()
    assert set(found["model"]) == {"pixels"}


def test_only_listings_with_evaluation_photos_are_predicted(shown, told):
    products, splits, images = shown
    measured = splits[(splits["split"] != "train") & splits["image_id"].notna()]

    found = predict_from_pixels(products, splits, images, told)

    assert found["product_id"].to_list() == measured["product_id"].to_list()


def test_photos_of_a_listing_are_averaged(shown, told, store_photos):
    """Of three photos, two show what the listing is not."""
    products, splits, _ = shown
    asked = splits.index[splits["split"] == "test"][0]
    other = next(each for each in COLOURS if each != products.loc[asked, "category"])
    more = pd.concat([splits.loc[[asked]].assign(image_id=name) for name in ("x", "y")])
    photos_of = dict(zip(splits["image_id"], products["category"], strict=True))
    found = {
        image_id: painted(COLOURS[category])
        for image_id, category in photos_of.items()
        if isinstance(image_id, str)
    } | {name: painted(COLOURS[other]) for name in ("x", "y")}

    answers = predict_from_pixels(
        products, pd.concat([splits, more]), store_photos(found, "more.lance"), told
    ).set_index("product_id")

    assert answers.index.is_unique
    assert answers.loc[products.loc[asked, "product_id"], "answered"] == other


def test_missing_training_photos_are_rejected(shown, told):
    products, splits, images = shown
    splits.loc[splits["split"] == "train", "image_id"] = None

    with pytest.raises(UserError, match="categor"):
        predict_from_pixels(products, splits, images, told)
