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
def learned(tables, told):
    return train_price_models(*tables, told)


def test_a_model_read_back_answers_the_same(tables, learned):
    products, _ = tables
    model = load_price_model(learned.model)
    first = learned.answers["product_id"].unique()
    asked = products.set_index("product_id").loc[first].reset_index()

    answers = predict_log_prices(model.fitted.features, model.fitted.models, asked)

    for name, found in answers.items():
        saved = learned.answers.loc[learned.answers["model"] == name, "answered"]
        assert (np.exp(found) == saved.to_numpy()).all(), name


def test_the_same_listings_give_the_same_bytes_in_whatever_order_they_come(tables, learned, told):
    products, splits = tables

    again = train_price_models(products.sample(frac=1, random_state=1), splits.iloc[::-1], told)

    assert again.model == learned.model
    pd.testing.assert_frame_equal(again.answers, learned.answers)


def test_every_model_answers_every_listing_whose_price_is_meant(tables, learned):
    _, splits = tables
    measured = set(splits.loc[splits["split"] != "train", "product_id"]) - {"p006", "p008"}

    for _, answers in learned.answers.groupby("model"):
        assert set(answers["product_id"]) == measured


def test_the_chosen_model_errs_least_on_validation_and_alone_has_an_interval(learned):
    held = learned.answers[learned.answers["split"] == "validation"]
    errors = (np.log(held["answered"] / held["price"]) ** 2).groupby(held["model"]).mean()
    with_interval = learned.answers.loc[learned.answers["low"].notna(), "model"]

    assert learned.choices["model"] == errors.idxmin()
    assert set(with_interval) == {errors.idxmin()}


def test_flagged_prices_do_not_move_where_prices_are_trimmed(learned):
    assert learned.choices["trimmed"][1] < 200


def test_prices_without_a_test_split_are_told_in_a_line(tables, told):
    products, splits = tables

    with pytest.raises(UserError, match="'test': 0"):
        train_price_models(products, splits[splits["split"] != "test"], told)
