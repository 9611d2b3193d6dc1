import numpy as np
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.baselines.train_price import (
    predict_prices,
    train_price_models,
)
from fb_marketplace.storage.file_handles import FileRef


@pytest.fixture(scope="module")
def tables(draw_listings):
    products, splits = draw_listings()
    products.loc[[6, 8], ["price", "price_flag"]] = [123456.0, "joke"]
    return products, splits


@pytest.fixture(scope="module")
def learned(tables, parameters):
    return train_price_models(*tables, parameters)


@pytest.fixture(scope="module")
def predictions(tables, learned, tmp_path_factory):
    path = tmp_path_factory.mktemp("price") / "model.skops"
    path.write_bytes(learned.model)
    return predict_prices(FileRef(str(path)), *tables)


def test_training_does_not_depend_on_row_order(tables, learned, parameters):
    products, splits = tables

    again = train_price_models(
        products.sample(frac=1, random_state=1), splits.iloc[::-1], parameters
    )

    assert again.model == learned.model
    assert again.choices == learned.choices


def test_each_model_predicts_every_unflagged_price(tables, predictions):
    _, splits = tables
    measured = set(splits.loc[splits["split"] != "train", "product_id"]) - {"p006", "p008"}

    for _, answers in predictions.groupby("model"):
        assert set(answers["product_id"]) == measured


def test_chosen_model_is_best_and_has_interval(learned, predictions):
    existing = predictions[predictions["split"] == "validation"]
    errors = (
        (np.log(existing["predicted"] / existing["price"]) ** 2).groupby(existing["model"]).mean()
    )
    with_interval = predictions.loc[predictions["low"].notna(), "model"]

    assert learned.choices["model"] == errors.idxmin()
    assert set(with_interval) == {errors.idxmin()}


def test_flagged_prices_do_not_affect_trimmed_rmse(learned):
    assert learned.choices["trimmed"][1] < 200


def test_missing_test_split_is_rejected(tables, parameters):
    products, splits = tables

    with pytest.raises(UserError, match="'test': 0"):
        train_price_models(products, splits[splits["split"] != "test"], parameters)
