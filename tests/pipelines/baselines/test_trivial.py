import numpy as np
import pandas as pd
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.parameters import BaselineParameters
from fb_marketplace.pipelines.baselines.trivial import commonest_category, median_price


@pytest.fixture(scope="module")
def told(base_parameters):
    return BaselineParameters.model_validate(
        base_parameters["baselines"] | {"bootstrap_samples": 20}
    )


@pytest.fixture
def tables():
    """Listings with price, flag, category and split; each has two photos."""
    rows = [
        (10.0, None, "Home", "train"),
        (20.0, None, "Home", "train"),
        (30.0, None, "Sport", "train"),
        (999.0, "joke", "Sport", "train"),
        (0.0, "zero", "Sport", "train"),
        (20.0, None, "Home", "validation"),
        (40.0, None, "Sport", "test"),
        (10.0, None, "Sport", "test"),
        (1.0, "joke", "Home", "test"),
    ]
    products = pd.DataFrame(rows, columns=["price", "price_flag", "category", "split"])
    products["product_id"] = [f"p{place}" for place in products.index]
    splits = products[["product_id", "split"]].assign(group=products["product_id"])
    both = pd.concat([splits.assign(image_id="i"), splits.assign(image_id="j")])
    return products.drop(columns="split"), both


def test_the_median_is_of_training_prices_that_are_meant(tables, told):
    assert median_price(*tables, told).model == {"kind": "median", "price": 20.0}


def test_the_error_is_of_the_logarithm_over_prices_that_are_meant(tables, told):
    found = median_price(*tables, told).metrics["absolute_log_error"]

    assert found["validation"]["value"] == 0
    assert found["test"]["value"] == pytest.approx(np.log(2), abs=1e-4)
    assert found["test"]["cases"] == 2


def test_the_commonest_category_is_that_of_training(tables, told):
    found = commonest_category(*tables, told)

    assert found.model == {"kind": "commonest", "category": "Sport"}
    assert found.metrics["top1"]["validation"]["value"] == 0
    assert found.metrics["top1"]["test"]["value"] == pytest.approx(2 / 3, abs=1e-4)


def test_what_is_measured_on_does_not_change_the_models(tables, told):
    products, splits = tables
    measured = products.index >= 5
    products.loc[measured, ["price", "category"]] = [5000.0, "Arts"]

    assert median_price(products, splits, told).model["price"] == 20.0
    assert commonest_category(products, splits, told).model["category"] == "Sport"


def test_an_empty_split_is_told(tables, told):
    products, splits = tables

    with pytest.raises(UserError, match="nothing to measure"):
        commonest_category(products, splits[splits["split"] != "test"], told)
