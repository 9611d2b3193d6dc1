import pandas as pd
import pytest

from fb_marketplace.pipelines.indexing.build_index import build_image_index, select_image_index
from fb_marketplace.pipelines.indexing.evaluate_retrieval import (
    evaluate_served_index,
    evaluate_within_split,
)
from fb_marketplace.storage.file_handles import FileRef


def market(angles):
    """Listings and splits of photos named `listing.number`.

    Listings that begin with t are training's, with v validation's, others test's; those that end in
    o are of another category.
    """
    owners = pd.DataFrame(
        {"image_id": list(angles), "product_id": [image.partition(".")[0] for image in angles]}
    )
    names = owners["product_id"].drop_duplicates()
    products = pd.DataFrame({"product_id": names, "title": "a chair", "description": ""})
    products["category"] = ["Other" if name.endswith("o") else "Home" for name in names]
    products["category_path"] = products["category"] + " / " + names
    sides = {"t": "train", "v": "validation"}
    splits = owners.assign(
        group=owners["product_id"],
        split=[sides.get(image[0], "test") for image in angles],
    )
    return owners, products, splits


def as_groups(copies):
    rows = [(image, group[0]) for group in copies for image in group]
    return pd.DataFrame(rows, columns=["image_id", "group"], dtype="str")


@pytest.fixture
def ask_the_index(store_angles, parameters, measuring, tmp_path):
    """Asks an index of photos by angle."""

    def ask(angles, copies=(), max_queries=100, **changed):
        owners, products, splits = market(angles)
        table = store_angles(angles)
        selection = select_image_index(table, parameters)
        built = build_image_index(table, owners, selection, parameters)
        (tmp_path / "index").write_bytes(built.vectors)
        (tmp_path / "ids").write_bytes(built.ids)
        files = FileRef(str(tmp_path / "index")), FileRef(str(tmp_path / "ids"))
        settings = measuring.model_copy(update={"max_queries": max_queries} | changed)
        return evaluate_served_index(*files, table, products, splits, as_groups(copies), settings)

    return ask


@pytest.fixture
def ask_the_splits(store_angles, store_features, store_photos, draw_photo, measuring):
    """Asks each split's photos for each other; a frozen backbone sees how long a listing's name is."""

    def ask(angles, copies=()):
        _, products, splits = market(angles)
        features = {image: [1.0, float(len(image.partition(".")[0]))] for image in angles}
        return evaluate_within_split(
            store_angles(angles),
            store_features(features),
            pd.DataFrame({"image_id": [], "layer": [], "embedding": []}),
            store_photos({image: draw_photo(seed) for seed, image in enumerate(angles)}),
            products,
            splits,
            as_groups(copies),
            measuring,
        )

    return ask


def values(measured, measure, **where):
    """The values of a measure by query, in one gallery and by one embedding."""
    part = measured[measured["measure"] == measure]
    for column, value in where.items():
        part = part[part[column] == value]
    return dict(zip(part["image_id"], part["value"], strict=True))


def pos(depth):
    return f"same_product_recall_at_{depth}"


def test_partner_at_rank_six_counts_at_10_but_not_at_5(ask_the_index):
    others = {f"c{number}.1": 10 + number for number in range(5)}
    measured = ask_the_index({"a.1": 0, "a.2": 100} | others).metrics

    result = [values(measured, pos(depth))["a.1"] for depth in (1, 5, 10)]
    assert result == [0, 0, 1]


def test_listing_with_one_photo_has_category_metrics_only(ask_the_index):
    measured = ask_the_index({"a.1": 0, "a.2": 50, "b.1": -1}).metrics

    assert values(measured, pos(1)) == {"a.1": 0, "a.2": 1}
    assert values(measured, "same_category_precision_at_10") == pytest.approx(
        {"a.1": 0.2, "a.2": 0.2, "b.1": 0.2}
    )


def test_copies_of_query_are_no_hits(ask_the_index):
    angles = {"a.1": 0, "a.2": 50, "b.1": -1, "c.1": -2}

    result = ask_the_index(angles, [("a.1", "b.1", "c.1")])

    assert values(result.metrics, pos(1)) == {"a.1": 1, "a.2": 1}
    assert result.hits.query("image_id == 'a.1'")["hit"].to_list() == ["a.2"]


def test_partner_that_is_copy_of_query_is_ignored(ask_the_index):
    angles = {"a.1": 0, "a.2": 1, "b.1": 90, "b.2": 95}

    measured = ask_the_index(angles, [("a.1", "a.2")]).metrics

    assert values(measured, pos(1)) == {"b.1": 1, "b.2": 1}


def test_hits_have_grades_in_rank_order(ask_the_index):
    hits = ask_the_index({"a.1": 0, "co.1": 20, "b.1": 10, "a.2": 90}).hits

    of_a = hits[hits["image_id"] == "a.1"]
    assert of_a["rank"].to_list() == [1, 2, 3]
    assert of_a["hit"].to_list() == ["b.1", "co.1", "a.2"]
    assert of_a["grade"].to_list() == [1, 0, 3]
    assert of_a["similarity"].to_list() == pytest.approx([0.985, 0.940, 0], abs=0.001)


def test_queries_are_of_test_split_and_hits_of_all(ask_the_index):
    result = ask_the_index({"a.1": 0, "a.2": 20, "t.1": 1, "t.2": 19, "v.1": 40})

    assert set(result.metrics["image_id"]) == {"a.1", "a.2"}
    assert set(result.metrics["photos"]) == {5}
    assert values(result.metrics, pos(1)) == {"a.1": 0, "a.2": 0}


def test_sampled_gallery_does_not_grow_with_market(ask_the_index):
    few = {"a.1": 0, "a.2": 90} | {f"c{number}.1": 10 + 4 * number for number in range(12)}
    many = few | {f"t{number}.1": 1 + 3 * number for number in range(28)}

    small, large = (
        ask_the_index(angles, max_sampled_photos=10, max_queries=2).metrics
        for angles in (few, many)
    )

    for name, metrics, photos in (("small", small, 14), ("large", large, 42)):
        sizes = metrics.groupby("gallery")["photos"].unique()
        assert sizes["all_photos"] == [photos], name
        assert sizes["sampled_photos"] <= 12, name


def test_sample_of_all_photos_has_the_same_recall(ask_the_index):
    others = {f"c{number}.1": 10 + number for number in range(5)}

    metrics = ask_the_index({"a.1": 0, "a.2": 100} | others).metrics

    for depth in (1, 5, 10):
        full, sampled = (
            values(metrics, pos(depth), gallery=gallery)
            for gallery in ("all_photos", "sampled_photos")
        )
        assert full == sampled


def test_sample_of_queries_is_mostly_that_of_another_gallery(ask_the_index):
    angles = {f"p{number}.1": number for number in range(60)}
    fewer = {name: angle for name, angle in angles.items() if angle % 10}

    other, sampled = (
        set(ask_the_index(photos, max_queries=20).metrics["image_id"]) for photos in (fewer, angles)
    )

    assert len(sampled) == len(other) == 20
    assert sampled & fewer.keys() <= other


def test_vector_order_does_not_matter(ask_the_index):
    angles = {"b.2": 95, "a.2": 5, "t.1": 3, "b.1": 90, "a.1": 0}

    result = values(ask_the_index(angles).metrics, pos(1))

    assert result == {"a.1": 0, "a.2": 0, "b.1": 1, "b.2": 1}


def test_random_baseline_excludes_query_and_copies(ask_the_index):
    angles = {"a.1": 0, "a.2": 20, "b.1": 40, "c.1": 60, "t.1": 80, "t.2": 100}

    measured = ask_the_index(angles, [("b.1", "a.1")]).metrics

    is_served = measured["gallery"] == "all_photos"
    baseline = measured[is_served & (measured["measure"] == pos(1))].set_index("image_id")[
        "random_baseline"
    ]
    assert baseline.to_dict() == pytest.approx({"a.1": 1 / 4, "a.2": 1 / 5})


def test_each_split_has_its_own_gallery(ask_the_splits):
    angles = {"a.1": 0, "a.2": 20, "t.1": 1, "t.2": 19, "v.1": 2, "v.2": 18}

    measured = ask_the_splits(angles)

    for gallery, queries in (("test_photos", "a"), ("validation_photos", "v")):
        result = values(measured, pos(1), gallery=gallery, embedding="encoder")
        assert result == {f"{queries}.1": 1, f"{queries}.2": 1}
    assert set(measured["photos"]) == {2}


def test_each_embedding_uses_the_same_gallery(ask_the_splits):
    angles = {"a.1": 0, "a.2": 90, "bb.1": 10, "bb.2": 100, "v.1": 0, "v.2": 1, "t.1": 5}

    measured = ask_the_splits(angles)

    gallery = {"gallery": "test_photos"}
    assert set(values(measured, pos(1), embedding="encoder", **gallery).values()) == {0}
    assert set(values(measured, pos(1), embedding="frozen_backbone", **gallery).values()) == {1}
    by_pixels = values(measured, pos(1), embedding="pixels", **gallery)
    assert by_pixels.keys() == {"a.1", "a.2", "bb.1", "bb.2"}


def test_text_queries_have_category_metrics_only(ask_the_splits):
    measured = ask_the_splits({"a.1": 0, "a.2": 90, "v.1": 0, "v.2": 1, "t.1": 5})

    of_words = measured[measured["embedding"] == "words"]
    assert set(of_words["measure"]) == {"same_category_precision_at_10", "ndcg_at_10"}
