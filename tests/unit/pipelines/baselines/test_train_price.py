import numpy as np
import pandas as pd
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.baselines.price_models import predict_log_prices
from fb_marketplace.pipelines.baselines.train_price import load_price_model, train_price_models


@pytest.fixture(scope="module")
def tables(draw_listings):
    products, splits = draw_listings()
    products.loc[[6, 8], ["price", "price_flag"]] = [123456.0, "joke"]
    return products, splits


@pytest.fixture(scope="module")
def learned(tables, parameters):
    return train_price_models(*tables, parameters)


def test_saved_model_predicts_the_same(tables, learned):
    products, _ = tables
    model = load_price_model(learned.model)
    first = learned.predictions["product_id"].unique()
    params = products.set_index("product_id").loc[first].reset_index()

    answers = predict_log_prices(model.fitted.features, model.fitted.models, params)

    for name, result in answers.items():
        saved = learned.predictions.loc[learned.predictions["model"] == name, "predicted"]
        assert (np.exp(result) == saved.to_numpy()).all(), name


def test_training_does_not_depend_on_row_order(tables, learned, parameters):
    products, splits = tables

    again = train_price_models(
        products.sample(frac=1, random_state=1), splits.iloc[::-1], parameters
    )

    assert again.model == learned.model
    pd.testing.assert_frame_equal(again.predictions, learned.predictions)


def test_each_model_predicts_every_unflagged_price(tables, learned):
    _, splits = tables
    measured = set(splits.loc[splits["split"] != "train", "product_id"]) - {"p006", "p008"}

    for _, answers in learned.predictions.groupby("model"):
        assert set(answers["product_id"]) == measured


def test_chosen_model_is_best_and_has_interval(learned):
    existing = learned.predictions[learned.predictions["split"] == "validation"]
    errors = (
        (np.log(existing["predicted"] / existing["price"]) ** 2).groupby(existing["model"]).mean()
    )
    with_interval = learned.predictions.loc[learned.predictions["low"].notna(), "model"]

    assert learned.choices["model"] == errors.idxmin()
    assert set(with_interval) == {errors.idxmin()}


def test_flagged_prices_do_not_affect_trimmed_rmse(learned):
    assert learned.choices["trimmed"][1] < 200


def test_missing_test_split_is_rejected(tables, parameters):
    products, splits = tables

    with pytest.raises(UserError, match="'test': 0"):
        train_price_models(products, splits[splits["split"] != "test"], parameters)
