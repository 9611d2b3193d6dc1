import numpy as np
import pytest

from fb_marketplace.pipelines.baselines.price_models import (
    TRIVIAL,
    fit_price_models,
    kernel_listings,
    predict_log_prices,
)
from fb_marketplace.pipelines.baselines.training_frame import filter_meant_prices


@pytest.fixture(scope="module")
def listed(draw_listings):
    return filter_meant_prices(*draw_listings())


@pytest.fixture(scope="module")
def vectors(listed, listing_vectors):
    return listing_vectors(listed)


@pytest.fixture(scope="module")
def fitted(listed, vectors, parameters):
    return fit_price_models(listed, vectors, parameters)


def test_trivial_prediction_is_training_median(listed, vectors, fitted):
    trained = listed.loc[listed["split"] == "train", "price"]

    answers = predict_log_prices(fitted, listed, vectors).centers

    assert answers[TRIVIAL] == pytest.approx(np.log(trained).median())


def test_rare_path_uses_median_of_its_parent(listed, vectors, fitted):
    rare = listed.head(3).assign(
        category_path=["Home / Sofa", "Home / Never seen", "Never / Seen"],
    )
    trained = listed[listed["split"] == "train"]

    answers = predict_log_prices(fitted, rare, vectors).centers["median_by_path"]

    logs = np.log(trained["price"])
    assert answers == pytest.approx(
        [
            logs[trained["category_path"] == "Home / Sofa"].median(),
            logs[trained["category"] == "Home"].median(),
            logs.median(),
        ]
    )


@pytest.mark.parametrize("model", ["linear", "ridge_text", "ridge", "kernel"])
def test_each_model_learns_words_and_categories(listed, vectors, fitted, model):
    test = listed[listed["split"] == "test"]
    truth = np.log(test["price"].to_numpy())

    answers = predict_log_prices(fitted, test, vectors).centers

    error, trivial = (np.abs(answers[name] - truth).mean() for name in (model, TRIVIAL))
    assert error < 0.9 * trivial


def test_test_split_does_not_affect_models(listed, vectors, fitted, parameters):
    other = listed.copy()
    other.loc[other["split"] == "test", "price"] = 5000.0
    again = fit_price_models(other, vectors, parameters)

    assert (again.models.kernel.weights == fitted.models.kernel.weights).all()
    assert again.models.median == fitted.models.median
    assert (again.models.ridge.coef_ == fitted.models.ridge.coef_).all()


def test_kernel_regression_uses_a_sample_of_training_listings(listed, vectors, parameters):
    kernel = parameters.price.kernel.model_copy(update={"max_listings": 20})
    price = parameters.price.model_copy(update={"kernel": kernel})
    few = parameters.model_copy(update={"price": price})

    fitted = fit_price_models(listed, vectors, few)

    ids = kernel_listings(listed, few)["product_id"]
    assert len(fitted.models.kernel.weights) == len(ids) == 20
    assert set(listed.set_index("product_id").loc[ids, "split"]) == {"train"}
