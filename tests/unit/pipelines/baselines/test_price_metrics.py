import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from fb_marketplace.parameters.baselines import PriceModelParameters
from fb_marketplace.pipelines.baselines.price_metrics import (
    evaluate_prices,
    log_r2,
    median_percentage_error,
    rmse,
    select_price_model,
)

TRUTH = np.array([10.0, 20.0, 40.0])


def test_rmse_is_in_currency_units():
    assert rmse(TRUTH, TRUTH + np.array([3, -3, 3])) == pytest.approx(3)


def test_log_r2_is_one_if_exact_and_zero_for_the_mean():
    assert log_r2(TRUTH, TRUTH) == 1
    assert log_r2(TRUTH, np.full(3, 20.0)) == pytest.approx(0)


def test_log_r2_of_equal_prices_is_undefined():
    assert np.isnan(log_r2(np.full(3, 5.0), TRUTH))


def test_percentage_error_is_relative_to_true_price():
    assert median_percentage_error(TRUTH, np.array([11.0, 30.0, 400.0])) == pytest.approx(0.5)


def test_model_is_selected_by_squared_error():
    often_near = np.array([0.0, 0.0, 3.0])
    never_far = np.array([1.0, 1.0, 1.0])

    assert select_price_model({"near": often_near, "safe": never_far}, np.zeros(3)) == "safe"


@pytest.fixture
def metrics(parameters):
    rows = [
        {
            "product_id": f"{split}{place}",
            "group": f"{split}{place}",
            "split": split,
            "price": price,
        }
        for split in ("test", "validation")
        for place, price in enumerate([1.0, 10.0, 20.0, 40.0, 9000.0])
    ]
    table = pd.DataFrame(rows)
    good = table.assign(model="good", predicted=table["price"] * 1.1, low=table["price"] * 0.9)
    good["high"] = good["price"] * np.array([2, 2, 2, 2, 0.95] * 2)
    bad = table.assign(model="median", predicted=20.0, low=np.nan, high=np.nan)
    choices = {
        "model": "good",
        "settings": {},
        "trimmed": [5.0, 100.0],
        "interval": {"nominal": 0.9, "median_factor": 2.0},
    }
    return evaluate_prices(pd.concat([bad, good]), choices, parameters)


def test_only_rmse_is_trimmed(metrics):
    result = metrics["models"]["good"]["test"]

    assert result["rmse_trimmed"]["cases"] == 3
    assert result["rmse_trimmed"]["value"] == pytest.approx(np.sqrt((1 + 4 + 16) / 3), abs=1e-3)
    assert result["log_r2"]["cases"] == result["median_percentage_error"]["cases"] == 5


def test_coverage_is_of_chosen_model_on_test_split(metrics):
    assert metrics["models"]["good"]["test"]["interval_coverage"]["value"] == 0.8
    assert metrics["models"]["good"]["test"]["interval_log_width"]["value"] == pytest.approx(
        np.log(2 / 0.9), abs=1e-4
    )
    assert "interval_coverage" not in metrics["models"]["good"]["validation"]
    assert "interval_coverage" not in metrics["models"]["median"]["test"]


def test_each_model_has_trivial_baseline(metrics):
    assert metrics["chosen"] == "good"
    assert set(metrics["models"]) == {"good", metrics["trivial"]}
    assert list(metrics["models"]["good"]) == ["validation", "test"]


def test_trim_of_all_prices_is_rejected(parameters):
    with pytest.raises(ValidationError, match=r"trim.*0\.9, 0\.1"):
        PriceModelParameters.model_validate(parameters.price.model_dump() | {"trim": (0.9, 0.1)})
