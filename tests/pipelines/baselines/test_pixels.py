import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.baselines.pixels import answer_by_pixels, reduced, small_photos
from fb_marketplace_serving import photos

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


@pytest.mark.parametrize("side", [8, 32, 64])
def test_a_photo_is_reduced_to_its_means(draw_photo, side):
    jpeg = photos.canonical(draw_photo(3, (256, 256)))
    square = 256 // side
    means = photos.pixels(jpeg).reshape(side, square, side, square, 3).mean(axis=(1, 3))

    found = reduced(jpeg, side)

    assert found.shape == (side, side, 3)
    assert np.abs(found - means).mean() < 3


def test_photos_come_in_the_order_of_their_ids(store_photos):
    images = store_photos({"b": painted((255, 255, 255)), "a": painted((0, 0, 0))})

    found = small_photos(images, 8)

    assert found.image_ids == ["a", "b"]
    assert found.pixels.mean(axis=1) == pytest.approx([-0.5, 0.5], abs=0.02)


def test_colours_tell_categories_that_they_stand_for(shown, told):
    products, splits, images = shown

    found = answer_by_pixels(products, splits, images, told)

    assert found["answered"].to_list() == found["category"].to_list()
    assert set(found["model"]) == {"pixels"}


def test_only_listings_with_photos_of_validation_and_test_are_answered(shown, told):
    products, splits, images = shown
    measured = splits[(splits["split"] != "train") & splits["image_id"].notna()]

    found = answer_by_pixels(products, splits, images, told)

    assert found["product_id"].to_list() == measured["product_id"].to_list()


def test_photos_of_one_listing_answer_together(shown, told, store_photos):
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

    answers = answer_by_pixels(
        products, pd.concat([splits, more]), store_photos(found, "more.lance"), told
    ).set_index("product_id")

    assert answers.index.is_unique
    assert answers.loc[products.loc[asked, "product_id"], "answered"] == other


def test_without_photos_to_learn_from_the_lack_is_told(shown, told):
    products, splits, images = shown
    splits.loc[splits["split"] == "train", "image_id"] = None

    with pytest.raises(UserError, match="found"):
        answer_by_pixels(products, splits, images, told)
