import numpy as np
import pytest

from fb_marketplace.pipelines.baselines.category_models import (
    predict_categories,
    predict_category_text,
    train_category_model,
)
from fb_marketplace.pipelines.baselines.predictions import category_predictions, evaluation_splits
from fb_marketplace.pipelines.baselines.training_frame import join_splits
from fb_marketplace.schemas.predictions import CategoryPredictions, CategoryTextProbabilities
from fb_marketplace.storage.file_handles import FileRef


@pytest.fixture(scope="module")
def tables(draw_listings):
    return draw_listings()


@pytest.fixture(scope="module")
def texts(tables, listing_vectors, store_texts):
    return store_texts(listing_vectors(tables[0]).texts)


@pytest.fixture(scope="module")
def learned(tables, texts, parameters):
    products, splits = tables
    return train_category_model(products, products, splits, texts, parameters)


@pytest.fixture(scope="module")
def probabilities(tables, texts, learned, tmp_path_factory):
    path = tmp_path_factory.mktemp("category") / "model.skops"
    path.write_bytes(learned.model)
    products, splits = tables
    return predict_category_text(FileRef(str(path)), products, products, splits, texts)


@pytest.fixture(scope="module")
def answers(tables, probabilities, parameters):
    listed = join_splits(*tables)
    seen = listed[(listed["split"] == "test") & (listed["photos"] > 0)]
    pixels = category_predictions(seen, "pixels", ["Home"] * len(seen))
    products, splits = tables
    return predict_categories(products, products, splits, probabilities, pixels, parameters)


def test_training_does_not_depend_on_row_order(tables, texts, learned, parameters):
    products, splits = tables

    shuffled = products.sample(frac=1, random_state=1)
    again = train_category_model(shuffled, shuffled, splits.iloc[::-1], texts, parameters)

    assert again.model == learned.model
    assert again.choices == learned.choices


def test_probabilities_are_in_order_of_sorted_labels(tables, learned, probabilities):
    products, splits = tables

    result = CategoryTextProbabilities.validate(probabilities)

    evaluated = splits.loc[splits["split"] != "train", "product_id"]
    assert result["product_id"].to_list() == sorted(set(evaluated))
    assert learned.choices["labels"] == ["Arts", "Home", "Sport"]
    places = np.vstack(result["probabilities"].to_list()).argmax(axis=1)
    truth = products.set_index("product_id").loc[result["product_id"], "category"]
    assert ([learned.choices["labels"][place] for place in places] == truth).mean() > 0.9


def test_predictions_start_with_trivial_model(answers):
    result = CategoryPredictions.validate(answers)

    assert list(dict.fromkeys(result["model"])) == ["most_frequent", "pixels", "words", "text"]
    assert set(result["split"]) == {"validation", "test"}


def test_most_frequent_category_is_of_training(tables, answers):
    listed = join_splits(*tables)
    counts = listed.loc[listed["split"] == "train", "category"].value_counts()

    predicted = answers.loc[answers["model"] == "most_frequent", "predicted"]

    assert set(predicted) == {counts.idxmax()}


def test_predictions_are_sorted_by_model_and_split(answers):
    result = [(model, split) for model, split, _ in evaluation_splits(answers)]

    assert result[:3] == [
        ("most_frequent", "validation"),
        ("most_frequent", "test"),
        ("pixels", "validation"),
    ]
