"""Price models: training, the selected model's interval, and the saved model.

The interval's width comes from the validation listings that also selected penalty, rounds and model. Its
real coverage is therefore measured on test.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.compute.threads import limit_blas_threads
from fb_marketplace.evaluation.conformal import conformal_half_width
from fb_marketplace.ml.skops_io import dump_skops, load_skops
from fb_marketplace.parameters.baselines import BaselineParameters
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
from fb_marketplace.storage.file_handles import FileRef


class TrainedPriceModel(NamedTuple):
    """The models as bytes, and the settings selected on validation."""

    model: bytes
    choices: dict[str, Any]


class PriceModel(NamedTuple):
    """All saved models, the selected one, and the half-width of its interval.

    Attributes:
        fitted: features and models.
        model: name of the selected model.
        width: half-width of its interval, in log price.
    """

    fitted: FittedPriceModel
    model: str
    width: float


def train_price_models(
    products: pd.DataFrame, splits: pd.DataFrame, parameters: BaselineParameters
) -> TrainedPriceModel:
    """Train all price models on listings whose price has no flag.

    Returns:
        The models in skops format, and the selected settings.
    """
    listed = filter_meant_prices(products, splits)
    with limit_blas_threads():
        fitted = fit_price_models(listed, parameters)
        evaluated = listed[listed["split"].isin(EVALUATION_SPLITS)].reset_index(drop=True)
        predictions = predict_log_prices(fitted.features, fitted.models, evaluated)
    truth, validation = np.log(evaluated["price"].to_numpy()), split_rows(evaluated, "validation")
    chosen = select_price_model(
        {name: predicted[validation] for name, predicted in predictions.items()}, truth[validation]
    )
    # Conformalized quantile regression gave wider intervals. Validation also selected the models, so its
    # errors are slightly too small; coverage is measured on test.
    width = conformal_half_width(
        truth[validation] - predictions[chosen][validation], parameters.price.coverage
    )
    trained = listed.loc[listed["split"] == "train", "price"]
    return TrainedPriceModel(
        dump_price_model(PriceModel(fitted, chosen, width)),
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


def predict_prices(
    price_model: FileRef, products: pd.DataFrame, splits: pd.DataFrame
) -> pd.DataFrame:
    """Predict the listings of validation and test: one row per model and listing."""
    model = load_price_model(price_model.read())
    listed = filter_meant_prices(products, splits)
    evaluated = listed[listed["split"].isin(EVALUATION_SPLITS)].reset_index(drop=True)
    with limit_blas_threads():
        predictions = predict_log_prices(model.fitted.features, model.fitted.models, evaluated)
    return _table(evaluated, predictions, model.model, model.width)


def dump_price_model(model: PriceModel) -> bytes:
    """Return a price model in skops format, with LightGBM's trees as text."""
    features = model.fitted.features._asdict()
    return dump_skops(
        {
            "features": features | {"text": pack_text(model.fitted.features.text)},
            "models": model.fitted.models._asdict(),
            "choices": model.fitted.choices,
            "model": model.model,
            "width": model.width,
        }
    )


def load_price_model(data: bytes) -> PriceModel:
    """Load a price model from the bytes of :func:`dump_price_model`."""
    parts = load_skops(data)
    text = unpack_text(parts["features"]["text"])
    fitted = FittedPriceModel(
        Features(**parts["features"] | {"text": text}),
        PriceModels(**parts["models"]),
        parts["choices"],
    )
    return PriceModel(fitted, parts["model"], parts["width"])


def _table(
    evaluated: pd.DataFrame, predictions: dict[str, Log], chosen: str, width: float
) -> pd.DataFrame:
    rows = evaluated[["product_id", "group", "split", "price"]]
    widths = {name: width if name == chosen else np.nan for name in predictions}
    return pd.concat(
        [
            rows.assign(
                model=name,
                predicted=np.exp(predicted),
                low=np.exp(predicted - widths[name]),
                high=np.exp(predicted + widths[name]),
            )
            for name, predicted in predictions.items()
        ],
        ignore_index=True,
    ).astype({"model": "str"})
