import numpy as np
import pytest

from fb_marketplace.pipelines.baselines.price_models import (
    TRIVIAL,
    fit_price_models,
    predict_log_prices,
)
from fb_marketplace.pipelines.baselines.training_frame import filter_meant_prices


@pytest.fixture(scope="module")
def listed(draw_listings):
    return filter_meant_prices(*draw_listings())


@pytest.fixture(scope="module")
def fitted(listed, parameters):
    return fit_price_models(listed, parameters)


def test_trivial_prediction_is_training_median(listed, fitted):
    trained = listed.loc[listed["split"] == "train", "price"]

    answers = predict_log_prices(fitted.features, fitted.models, listed)

    assert answers[TRIVIAL] == pytest.approx(np.log(trained).median())


def test_rare_path_uses_median_of_its_parent(listed, fitted):
    params = listed.head(3).assign(
        category_path=["Home / Sofa", "Home / Never seen", "Never / Seen"],
    )
    trained = listed[listed["split"] == "train"]

    answers = predict_log_prices(fitted.features, fitted.models, params)["median_by_path"]

    logs = np.log(trained["price"])
    assert answers == pytest.approx(
        [
            logs[trained["category_path"] == "Home / Sofa"].median(),
            logs[trained["category"] == "Home"].median(),
            logs.median(),
        ]
    )


@pytest.mark.parametrize("model", ["linear", "ridge_text", "ridge", "trees", "ridge_and_trees"])
def test_each_model_learns_words_and_categories(listed, fitted, model):
    params = listed[listed["split"] == "test"]
    truth = np.log(params["price"].to_numpy())

    answers = predict_log_prices(fitted.features, fitted.models, params)

    error, trivial = (np.abs(answers[name] - truth).mean() for name in (model, TRIVIAL))
    assert error < 0.9 * trivial


def test_test_split_does_not_affect_models(listed, fitted, parameters):
    other = listed.copy()
    other.loc[other["split"] == "test", "price"] = 5000.0
    again = fit_price_models(other, parameters)

    assert again.models.booster == fitted.models.booster
    assert again.models.median == fitted.models.median
    assert (again.models.ridge.coef_ == fitted.models.ridge.coef_).all()
