"""Models of the log price, from the median to a kernel regression on text, category, place and photos."""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.sampling import sample_rows
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.kernel_regression import (
    KernelInputs,
    KernelRegression,
    fit_kernel_regression,
    predict_kernel_regression,
)
from fb_marketplace.pipelines.baselines.listing_vectors import (
    ListingVectors,
    Vectors,
    center,
    subtract_and_normalize,
)
from fb_marketplace.pipelines.baselines.price_features import (
    linear_features,
    path_prefixes,
    price_table,
)
from fb_marketplace.pipelines.baselines.text_features import fit_text, text_features, text_table
from fb_marketplace.pipelines.baselines.training_frame import split_rows

Log = NDArray[np.float64]

TRIVIAL: Final = "median"

SIMILARITY_WEIGHTS: Final = {"text": 0.35, "table": 0.24, "sentences": 0.24, "photos": 0.17}
"""Weight of the cosine of each kind of feature in the kernel regression."""


class Features(NamedTuple):
    """Feature transformers fitted on the training split; skops can store each of them.

    Attributes:
        separator: separator of category paths.
        text: TF-IDF features of the text.
        table: other features.
        centers: mean vectors of texts and photos.
    """

    separator: str
    text: Any
    table: Any
    centers: tuple[Vectors, Vectors]


class Inputs(NamedTuple):
    """Model inputs: sparse text, other sparse features, and both concatenated."""

    text: Any
    table: Any
    both: Any


class PriceModels(NamedTuple):
    """All fitted models; skops can store each of them.

    Attributes:
        median: median log price of the training split.
        path_medians: median log price of each category path, or ancestor, with enough listings.
        linear: linear regression on the non-text features; the original project's model.
        ridge_text: ridge regression on the text.
        ridge: ridge regression on text and non-text features.
        kernel: kernel regression on these and on vectors of text and photos.
    """

    median: float
    path_medians: dict[str, float]
    linear: Any
    ridge_text: Any
    ridge: Any
    kernel: KernelRegression


class FittedPriceModel(NamedTuple):
    """Features, models, and the penalties selected on validation."""

    features: Features
    models: PriceModels
    choices: dict[str, float]


class LogPrices(NamedTuple):
    """Predicted natural log prices by model, and the expected error of the kernel regression.

    Attributes:
        centers: by model, the trivial model first, float64, (listings,).
        spread: float64, (listings,), above zero.
    """

    centers: dict[str, Log]
    spread: Log


def fit_price_models(
    listed: pd.DataFrame, vectors: ListingVectors, parameters: BaselineParameters
) -> FittedPriceModel:
    """Fit every model on the training split; select the ridge penalties on validation.

    Args:
        listed: listings with unflagged price, group and split; the test split is not used.
        vectors: vectors of the :func:`kernel_listings`.
        parameters: features, models, number of training listings, and seed.
    """
    from sklearn.linear_model import LinearRegression

    train, validation = (
        listed.iloc[split_rows(listed, split)] for split in ("train", "validation")
    )
    train = _sample(train, parameters.max_listings, parameters)
    train_target = np.log(train["price"].to_numpy())
    validation_target = np.log(validation["price"].to_numpy())
    compared = kernel_listings(listed, parameters)
    compared_vectors = vectors.select(compared["product_id"].to_list())
    features = _fit_features(train, compared_vectors, parameters)
    train_inputs = price_inputs(features, train)
    validation_inputs = price_inputs(features, validation)
    penalties = parameters.price.ridge_penalties
    ridge_text, text_penalty = _best_ridge(
        (train_inputs.text, train_target), (validation_inputs.text, validation_target), penalties
    )
    ridge, penalty = _best_ridge(
        (train_inputs.both, train_target), (validation_inputs.both, validation_target), penalties
    )
    models = PriceModels(
        median=float(np.median(train_target)),
        path_medians=_path_medians(train["category_path"], train_target, parameters),
        linear=LinearRegression().fit(train_inputs.table, train_target),
        ridge_text=ridge_text,
        ridge=ridge,
        kernel=fit_kernel_regression(
            _kernel_inputs(features, price_inputs(features, compared), compared_vectors),
            np.log(compared["price"].to_numpy()),
            compared["group"].to_numpy(),
            parameters.price.kernel.penalty,
            parameters.price.kernel.error_penalty,
        ),
    )
    choices = {"ridge_text_penalty": text_penalty, "ridge_penalty": penalty}
    return FittedPriceModel(features, models, choices)


def kernel_listings(listed: pd.DataFrame, parameters: BaselineParameters) -> pd.DataFrame:
    """Return the training listings of the kernel regression: a sample if there are too many."""
    limit = min(parameters.max_listings, parameters.price.kernel.max_listings)
    return _sample(listed.iloc[split_rows(listed, "train")], limit, parameters)


def predict_log_prices(
    fitted: FittedPriceModel, products: pd.DataFrame, vectors: ListingVectors
) -> LogPrices:
    """Predict the log prices of listings."""
    features, models, _ = fitted
    inputs = price_inputs(features, products)
    by_path = [_median_of(models, path, features.separator) for path in products["category_path"]]
    kernel = predict_kernel_regression(
        models.kernel,
        _kernel_inputs(features, inputs, vectors.select(products["product_id"].to_list())),
    )
    centers = {
        TRIVIAL: np.full(len(products), models.median),
        "median_by_path": np.asarray(by_path, dtype=np.float64),
        "linear": models.linear.predict(inputs.table),
        "ridge_text": models.ridge_text.predict(inputs.text),
        "ridge": models.ridge.predict(inputs.both),
        "kernel": kernel.center,
    }
    return LogPrices(centers, kernel.spread)


def price_inputs(features: Features, products: pd.DataFrame) -> Inputs:
    """Transform listings into model inputs."""
    from scipy.sparse import hstack

    text = features.text.transform(text_table(products))
    table = features.table.transform(price_table(products, features.separator))
    return Inputs(text, table, hstack([text, table]).tocsr())


def _kernel_inputs(
    features: Features, inputs: Inputs, vectors: tuple[Vectors, Vectors]
) -> KernelInputs:
    """Scale each kind of feature so that its dot products are weighted cosines."""
    from scipy.sparse import hstack
    from sklearn.preprocessing import normalize

    scales = {name: np.float32(np.sqrt(weight)) for name, weight in SIMILARITY_WEIGHTS.items()}
    texts, photos = (
        subtract_and_normalize(matrix, mean)
        for matrix, mean in zip(vectors, features.centers, strict=True)
    )
    sparse = [normalize(inputs.text) * scales["text"], normalize(inputs.table) * scales["table"]]
    return KernelInputs(
        hstack(sparse, format="csr", dtype=np.float32),
        np.hstack([texts * scales["sentences"], photos * scales["photos"]]),
    )


def _sample(train: pd.DataFrame, limit: int, parameters: BaselineParameters) -> pd.DataFrame:
    return train.iloc[sample_rows(train["product_id"].to_list(), limit, parameters.seed)]


def _fit_features(
    train: pd.DataFrame, vectors: tuple[Vectors, Vectors], parameters: BaselineParameters
) -> Features:
    text = text_features(parameters.text, len(train))
    fit_text(text, text_table(train))
    rest = price_table(train, parameters.price.separator)
    return Features(
        separator=parameters.price.separator,
        text=text,
        table=linear_features(parameters.price).fit(rest),
        centers=(center(vectors[0]), center(vectors[1])),
    )


def _median_of(models: PriceModels, path: str, separator: str) -> float:
    known = models.path_medians
    return next(
        (known[prefix] for prefix in path_prefixes(path, separator) if prefix in known),
        models.median,
    )


def _path_medians(
    paths: pd.Series, targets: Log, parameters: BaselineParameters
) -> dict[str, float]:
    prefixes = [path_prefixes(path, parameters.price.separator) for path in paths]
    priced = pd.DataFrame({"path": prefixes, "price": targets}).explode("path")
    medians = priced.groupby("path")["price"].agg(["median", "size"])
    enough = medians[medians["size"] >= parameters.price.min_path_listings]
    return {str(path): float(median) for path, median in enough["median"].items()}


def _best_ridge(
    train: tuple[Any, Log], validation: tuple[Any, Log], penalties: tuple[float, ...]
) -> tuple[Any, float]:
    """Fit a ridge regression for each penalty and return the one with the lowest validation error."""
    from sklearn.linear_model import Ridge

    fitted = [Ridge(alpha=penalty).fit(*train) for penalty in penalties]
    errors = [np.square(model.predict(validation[0]) - validation[1]).mean() for model in fitted]
    best = int(np.argmin(errors))
    return fitted[best], penalties[best]
