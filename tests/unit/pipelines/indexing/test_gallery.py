import numpy as np
import pandas as pd
import pytest

from fb_marketplace.pipelines.indexing.gallery import make_gallery

PRODUCTS = pd.DataFrame(
    [
        ("chair", "Home", "Home / Chairs"),
        ("stool", "Home", "Home / Chairs"),
        ("lamp", "Home", "Home / Lamps"),
        ("drum", "Music", "Music / Drums"),
    ],
    columns=["product_id", "category", "category_path"],
)
SPLITS = pd.DataFrame(
    [
        ("chair.1", "chair", "test"),
        ("chair.2", "chair", "test"),
        ("stool.1", "stool", "test"),
        ("lamp.1", "lamp", "train"),
        ("drum.1", "drum", "train"),
        (None, "drum", "train"),
    ],
    columns=["image_id", "product_id", "split"],
).assign(group="all")


@pytest.fixture
def gallery():
    """Makes a gallery of all photos, in the order of their ids, of which some are copies."""

    def make(*copies, more=()):
        groups = pd.DataFrame([(item, "same") for item in copies], columns=["image_id", "group"])
        images = [*SPLITS["image_id"].dropna().sort_values(), *more]
        return make_gallery(images, PRODUCTS, SPLITS, groups)

    return make


def graded(gallery, query):
    """Grades by photo, for one query."""
    images = gallery.photos["image_id"].to_list()
    (grades,) = gallery.grades(np.asarray([images.index(query)])).tolist()
    return dict(zip(images, grades, strict=True))


def test_grade_is_of_closest_relation(gallery):
    assert graded(gallery(), "chair.1") == {
        "chair.1": -1,
        "chair.2": 3,
        "stool.1": 2,
        "lamp.1": 1,
        "drum.1": 0,
    }


def test_copies_of_query_are_excluded(gallery):
    result = graded(gallery("chair.1", "chair.2", "lamp.1"), "chair.1")

    assert {image for image, grade in result.items() if grade == -1} == {
        *("chair.1", "chair.2", "lamp.1")
    }
    assert gallery("chair.1", "chair.2", "lamp.1").copies(np.arange(5)).tolist() == [3, 3, 1, 3, 1]


def test_copies_of_other_photos_are_included(gallery):
    assert graded(gallery("stool.1", "lamp.1"), "chair.1")["stool.1"] == 2


def test_photos_without_metadata_are_unrelated(gallery):
    result = graded(gallery(more=("x", "y")), "x")

    assert result.pop("x") == -1
    assert set(result.values()) == {0}


def test_available_photos_are_counted_by_grade(gallery):
    photos = gallery("chair.1", "stool.1", more=("x", "y"))
    queries = np.arange(len(photos))

    counts = [
        [np.count_nonzero(grades == grade) for grade in range(4)]
        for grades in photos.grades(queries)
    ]

    assert photos.available(queries).tolist() == counts


def test_some_photos_of_each_query_are_graded(gallery):
    photos, queries, rows = gallery(), np.array([0, 3]), np.array([[4, 0], [1, 1]])

    graded = photos.grades(queries, rows)

    assert graded.tolist() == np.take_along_axis(photos.grades(queries), rows, axis=1).tolist()


def test_gallery_has_photos_of_one_split(gallery):
    alone = gallery().among("test")

    assert alone.photos["image_id"].to_list() == ["chair.1", "chair.2", "stool.1"]
    assert graded(alone, "stool.1") == {"chair.1": 2, "chair.2": 2, "stool.1": -1}
