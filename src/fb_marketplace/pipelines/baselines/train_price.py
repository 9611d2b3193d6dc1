"""Learns prices: fits every model, lets validation choose, and gives the one chosen an interval.

The interval's width is from the same validation listings that chose penalty, rounds and model, so that what
it promises takes these as given; see :mod:`price_interval`.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.compute.parallel import limit_blas_threads
from fb_marketplace.ml.skops_io import dump_skops, load_skops
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.conformal import conformal_half_width
from fb_marketplace.pipelines.baselines.price_metrics import select_price_model
from fb_marketplace.pipelines.baselines.price_models import (
    Features,
    FittedPriceModel,
    Log,
    PriceModels,
    fit_price_models,
    predict_log_prices,
)
from fb_marketplace.pipelines.baselines.text_features import pack_text, unpack_text
from fb_marketplace.pipelines.baselines.training_frame import filter_meant_prices, split_rows
from fb_marketplace.schemas.splits import EVALUATION_SPLITS


class TrainedPriceModel(NamedTuple):
    """The models as bytes, what they answer, and what was chosen on validation."""

    model: bytes
    answers: pd.DataFrame
    choices: dict[str, Any]


class PriceModel(NamedTuple):
    """What was saved: all models, which of them is meant, and how far its interval reaches.

    Attributes:
        fitted: features and models.
        model: the name of the one chosen.
        width: of the interval to either side, on the logarithm of the price.
    """

    fitted: FittedPriceModel
    model: str
    width: float


def train_price_models(
    products: pd.DataFrame, splits: pd.DataFrame, parameters: BaselineParameters
) -> TrainedPriceModel:
    """Learn the price of listings whose price is meant.

    Returns:
        The models, as skops; ``price_predictions``, one row a model and listing of validation and test; and
        the choices.
    """
    listed = filter_meant_prices(products, splits)
    with limit_blas_threads():
        fitted = fit_price_models(listed, parameters)
        measured = listed[listed["split"].isin(EVALUATION_SPLITS)].reset_index(drop=True)
        answers = predict_log_prices(fitted.features, fitted.models, measured)
    truth, held = np.log(measured["price"].to_numpy()), split_rows(measured, "validation")
    chosen = select_price_model({name: found[held] for name, found in answers.items()}, truth[held])
    width = conformal_half_width(truth[held], answers[chosen][held], parameters.price.coverage)
    trained = listed.loc[listed["split"] == "train", "price"]
    return TrainedPriceModel(
        dump_price_model(PriceModel(fitted, chosen, width)),
        _table(measured, answers, chosen, width),
        {
            "model": chosen,
            "settings": fitted.choices,
            "trimmed": [float(trained.quantile(share)) for share in parameters.price.trim],
            "interval": {
                "nominal": parameters.price.coverage,
                "factor": round(float(np.exp(width)), 4),
            },
        },
    )


def dump_price_model(found: PriceModel) -> bytes:
    """Write a price model as skops, with LightGBM's trees as its own text."""
    features = found.fitted.features._asdict()
    return dump_skops(
        {
            "features": features | {"text": pack_text(found.fitted.features.text)},
            "models": found.fitted.models._asdict(),
            "choices": found.fitted.choices,
            "model": found.model,
            "width": found.width,
        }
    )


def load_price_model(data: bytes) -> PriceModel:
    """Read what :func:`dump_price_model` wrote."""
    found = load_skops(data)
    text = unpack_text(found["features"]["text"])
    fitted = FittedPriceModel(
        Features(**found["features"] | {"text": text}),
        PriceModels(**found["models"]),
        found["choices"],
    )
    return PriceModel(fitted, found["model"], found["width"])


def _table(
    measured: pd.DataFrame, answers: dict[str, Log], chosen: str, width: float
) -> pd.DataFrame:
    rows = measured[["product_id", "group", "split", "price"]]
    reach = {name: width if name == chosen else np.nan for name in answers}
    return pd.concat(
        [
            rows.assign(
                model=name,
                answered=np.exp(found),
                low=np.exp(found - reach[name]),
                high=np.exp(found + reach[name]),
            )
            for name, found in answers.items()
        ],
        ignore_index=True,
    ).astype({"model": "str"})
