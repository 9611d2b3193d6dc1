"""Price models: training, the selected model's interval, and the saved model.

An interval extends the same number of spreads, its reach, to either side of the prediction in log price
(normalized split conformal prediction; Papadopoulos et al., 2008). The reach comes from the validation
listings that also selected penalties and model. Its real coverage is therefore measured on test.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.compute.threads import limit_blas_threads
from fb_marketplace.evaluation.conformal import conformal_half_width
from fb_marketplace.ml.skops_io import dump_skops, load_skops
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.kernel_regression import KernelInputs, KernelRegression
from fb_marketplace.pipelines.baselines.listing_vectors import read_listing_vectors
from fb_marketplace.pipelines.baselines.price_metrics import select_price_model
from fb_marketplace.pipelines.baselines.price_models import (
    Features,
    FittedPriceModel,
    LogPrices,
    PriceModels,
    fit_price_models,
    kernel_listings,
    predict_log_prices,
)
from fb_marketplace.pipelines.baselines.text_features import pack_text, unpack_text
from fb_marketplace.pipelines.baselines.training_frame import filter_meant_prices, split_rows
from fb_marketplace.schemas.splits import EVALUATION_SPLITS
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table


class TrainedPriceModel(NamedTuple):
    """The models as bytes, and the settings selected on validation."""

    model: bytes
    choices: dict[str, Any]


class PriceModel(NamedTuple):
    """All saved models, the selected one, and the reach of its interval.

    Attributes:
        fitted: features and models.
        model: name of the selected model.
        reach: number of spreads to either side, in log price.
    """

    fitted: FittedPriceModel
    model: str
    reach: float


def train_price_models(
    products: pd.DataFrame,
    splits: pd.DataFrame,
    text_embeddings: Table,
    vision_features: Table | Skipped,
    parameters: BaselineParameters,
) -> TrainedPriceModel:
    """Train all price models on listings whose price has no flag.

    Args:
        products: the listings.
        splits: group and split of each photo and listing.
        text_embeddings: embeddings of the listings' texts.
        vision_features: features of the frozen backbone, by photo.
        parameters: features and models.

    Returns:
        The models in skops format, and the selected settings.
    """
    listed = filter_meant_prices(products, splits)
    validation = listed.iloc[split_rows(listed, "validation")]
    read = pd.concat([kernel_listings(listed, parameters), validation])
    vectors = read_listing_vectors(
        read["product_id"].to_list(), splits, text_embeddings, vision_features
    )
    with limit_blas_threads():
        fitted = fit_price_models(listed, vectors, parameters)
        predicted = predict_log_prices(fitted, validation, vectors)
    truth = np.log(validation["price"].to_numpy())
    chosen = select_price_model(predicted.centers, truth)
    errors = (truth - predicted.centers[chosen]) / predicted.spread
    reach = conformal_half_width(errors, parameters.price.coverage)
    trained = listed.loc[listed["split"] == "train", "price"]
    return TrainedPriceModel(
        dump_price_model(PriceModel(fitted, chosen, reach)),
        {
            "model": chosen,
            "settings": fitted.choices,
            "trimmed": [float(trained.quantile(share)) for share in parameters.price.trim],
            "interval": {
                "nominal": parameters.price.coverage,
                "median_factor": round(float(np.exp(reach * np.median(predicted.spread))), 4),
            },
        },
    )


def predict_prices(
    price_model: FileRef,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    text_embeddings: Table,
    vision_features: Table | Skipped,
) -> pd.DataFrame:
    """Predict the listings of validation and test: one row per model and listing."""
    model = load_price_model(price_model.read())
    listed = filter_meant_prices(products, splits)
    evaluated = listed[listed["split"].isin(EVALUATION_SPLITS)].reset_index(drop=True)
    vectors = read_listing_vectors(
        evaluated["product_id"].to_list(), splits, text_embeddings, vision_features
    )
    with limit_blas_threads():
        predicted = predict_log_prices(model.fitted, evaluated, vectors)
    return _table(evaluated, predicted, model.model, model.reach)


def dump_price_model(model: PriceModel) -> bytes:
    """Return a price model in skops format."""
    features, models, choices = model.fitted
    sparse, dense = models.kernel.cases
    # skops does not trust sparse matrices.
    cases = {name: getattr(sparse, name) for name in ("data", "indices", "indptr", "shape")}
    kernel = models.kernel._asdict() | {"cases": cases | {"dense": dense}}
    return dump_skops(
        {
            "features": features._asdict() | {"text": pack_text(features.text)},
            "models": models._asdict() | {"kernel": kernel},
            "choices": choices,
            "model": model.model,
            "reach": model.reach,
        }
    )


def load_price_model(data: bytes) -> PriceModel:
    """Load a price model from the bytes of :func:`dump_price_model`."""
    from scipy.sparse import csr_matrix

    parts = load_skops(data)
    text = unpack_text(parts["features"]["text"])
    kernel = parts["models"]["kernel"]
    cases = kernel["cases"]
    sparse = csr_matrix((cases["data"], cases["indices"], cases["indptr"]), shape=cases["shape"])
    kernel |= {"cases": KernelInputs(sparse, cases["dense"])}
    fitted = FittedPriceModel(
        Features(**parts["features"] | {"text": text}),
        PriceModels(**parts["models"] | {"kernel": KernelRegression(**kernel)}),
        parts["choices"],
    )
    return PriceModel(fitted, parts["model"], parts["reach"])


def _table(
    evaluated: pd.DataFrame, predicted: LogPrices, chosen: str, reach: float
) -> pd.DataFrame:
    rows = evaluated[["product_id", "group", "split", "price"]]
    width = reach * predicted.spread
    widths = {name: width if name == chosen else np.nan for name in predicted.centers}
    return pd.concat(
        [
            rows.assign(
                model=name,
                predicted=np.exp(center),
                low=np.exp(center - widths[name]),
                high=np.exp(center + widths[name]),
            )
            for name, center in predicted.centers.items()
        ],
        ignore_index=True,
    ).astype({"model": "str"})
