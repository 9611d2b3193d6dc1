import pandas as pd
import pytest

from fb_marketplace.pipelines.indexing.building import build_index
from fb_marketplace.pipelines.indexing.retrieval import measure_retrieval
from fb_marketplace.stored_file import StoredFile


@pytest.fixture
def measure(store_angles, told, tmp_path):
    """Measures photos named `listing.number`, by angle; listings that begin with t are training's."""

    def measure(angles, copies=()):
        images = list(angles)
        owners = pd.DataFrame(
            {"image_id": images, "product_id": [image.partition(".")[0] for image in images]}
        )
        splits = owners.assign(
            group=owners["product_id"],
            split=["train" if image.startswith("t") else "test" for image in images],
        )
        groups = pd.DataFrame(
            [(image, group[0]) for group in copies for image in group],
            columns=["image_id", "group"],
            dtype="str",
        )
        table = store_angles(angles)
        built = build_index(table, owners, told)
        (tmp_path / "index").write_bytes(built.vectors)
        (tmp_path / "ids").write_bytes(built.ids)
        files = StoredFile(str(tmp_path / "index")), StoredFile(str(tmp_path / "ids"))
        found = measure_retrieval(*files, table, splits, groups, told)
        return {
            gallery: {
                int(name.rpartition("_")[2]): (each["value"], each["cases"])
                for name, each in recalls.items()
            }
            for gallery, recalls in found.items()
        } | {"raw": found}

    return measure


def test_a_partner_that_is_nearest_is_found_at_one(measure):
    found = measure({"a.1": 0, "a.2": 5, "b.1": 90, "b.2": 95})

    assert found["all_photos"] == {1: (1, 4), 5: (1, 4), 10: (1, 4)}


def test_a_partner_that_is_sixth_is_found_at_ten_and_not_at_five(measure):
    others = {f"c{number}.1": 10 + number for number in range(5)}
    found = measure({"a.1": 0, "a.2": 100} | others)["all_photos"]

    assert {depth: value for depth, (value, _) in found.items()} == {1: 0, 5: 0, 10: 1}


def test_a_listing_with_one_photo_asks_nothing_but_is_an_answer(measure):
    found = measure({"a.1": 0, "a.2": 50, "b.1": -1})

    assert found["all_photos"][1] == (0.5, 2)


def test_copies_of_the_query_are_not_counted_as_answers(measure):
    angles = {"a.1": 0, "a.2": 50, "b.1": -1, "c.1": -2}

    assert measure(angles)["all_photos"][1] == (0.5, 2)
    assert measure(angles, [("a.1", "b.1", "c.1")])["all_photos"][1] == (1, 2)


def test_a_partner_that_is_a_copy_of_the_query_is_no_partner(measure):
    angles = {"a.1": 0, "a.2": 1, "b.1": 90, "b.2": 95}
    found = measure(angles, [("a.1", "a.2")])

    assert found["all_photos"][1] == (1, 2)


def test_copies_do_not_crowd_out_the_answers(measure):
    crowd = {f"c{number}.1": -number / 100 for number in range(1, 20)}
    found = measure({"a.1": 0, "a.2": 50} | crowd, [("a.1", *crowd)])

    assert found["all_photos"][1][0] == 1


def test_photos_of_training_are_in_the_one_gallery_and_not_in_the_other(measure):
    found = measure({"a.1": 0, "a.2": 20, "t.1": 1, "t.2": 19})

    assert found["all_photos"][1] == (0, 2)
    assert found["test_photos"][1] == (1, 2)
    assert found["raw"]["all_photos"]["same_product_recall_at_1"]["gallery"] == 4
    assert found["raw"]["test_photos"]["same_product_recall_at_1"]["gallery"] == 2


def test_the_order_in_which_vectors_came_does_not_matter(measure):
    angles = {"b.2": 95, "a.2": 5, "t.1": 3, "b.1": 90, "a.1": 0}

    assert measure(angles)["test_photos"][1] == (1, 4)
