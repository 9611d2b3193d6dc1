"""The trivial answers: the median price, and the commonest category."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.bootstrap import mean_by_group
from fb_marketplace.parameters import BaselineParameters


class Measured(NamedTuple):
    """A model, as JSON, and how good it is."""

    model: dict[str, Any]
    metrics: dict[str, Any]


def median_price(
    products: pd.DataFrame, splits: pd.DataFrame, parameters: BaselineParameters
) -> Measured:
    """Answer every question for a price with the median of the training listings.

    Returns:
        The model; and on validation and test the mean absolute error of the natural logarithm of
        the price, over listings whose price is meant.
    """
    listed = _with_split(products[products["price_flag"].isna()], splits)
    median = float(listed.loc[listed["split"] == "train", "price"].median())
    error = np.abs(np.log(listed["price"]) - np.log(median))
    metrics = {"absolute_log_error": _by_split(error, listed, parameters)}
    return Measured({"kind": "median", "price": median}, metrics)


def commonest_category(
    products: pd.DataFrame, splits: pd.DataFrame, parameters: BaselineParameters
) -> Measured:
    """Answer every question for a category with the commonest of the training listings.

    Returns:
        The model; and on validation and test the share of listings for which that is right.
    """
    listed = _with_split(products, splits)
    commonest = "".join(listed.loc[listed["split"] == "train", "category"].mode().head(1))
    right = (listed["category"] == commonest).astype("float64")
    metrics = {"top1": _by_split(right, listed, parameters)}
    return Measured({"kind": "commonest", "category": commonest}, metrics)


def _with_split(products: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    where = splits.drop_duplicates("product_id")[["product_id", "group", "split"]]
    return products.merge(where, on="product_id", validate="1:1")


def _by_split(
    values: pd.Series, listed: pd.DataFrame, parameters: BaselineParameters
) -> dict[str, Any]:
    return {
        split: mean_by_group(
            values[listed["split"] == split],
            listed.loc[listed["split"] == split, "group"],
            parameters.bootstrap_samples,
            parameters.confidence,
            parameters.seed,
        ).plain()
        for split in ("validation", "test")
    }
