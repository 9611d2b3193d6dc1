"""Models of the log price, from the median to gradient-boosted trees stacked on ridge regressions."""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.sampling import sample_rows
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.price_features import (
    linear_features,
    path_prefixes,
    price_table,
    tree_features,
)
from fb_marketplace.pipelines.baselines.text_features import fit_text, text_features, text_table
from fb_marketplace.pipelines.baselines.training_frame import group_folds, split_rows

Log = NDArray[np.float64]

TRIVIAL: Final = "median"


class Features(NamedTuple):
    """Feature transformers fitted on the training split; skops can store each of them.

    Attributes:
        separator: separator of category paths.
        text: text features.
        table: other features for linear models.
        codes: other features for trees.
        reduced: truncated SVD of the text features, for trees.
    """

    separator: str
    text: Any
    table: Any
    codes: Any
    reduced: Any


class Inputs(NamedTuple):
    """Model inputs: sparse text, other sparse features, both concatenated, and dense features for trees."""

    text: Any
    table: Any
    both: Any
    dense: Any


class PriceModels(NamedTuple):
    """All fitted models; skops can store each of them.

    Attributes:
        median: median log price of the training split.
        path_medians: median log price of each category path, or ancestor, with enough listings.
        linear: linear regression on the non-text features; the original project's model.
        ridge_text: ridge regression on the text.
        ridge: ridge regression on text and non-text features.
        booster: LightGBM model in text format; its inputs are the non-text features, the reduced text
            and both ridge predictions.
    """

    median: float
    path_medians: dict[str, float]
    linear: Any
    ridge_text: Any
    ridge: Any
    booster: str


class FittedPriceModel(NamedTuple):
    """Features, models, and the penalties and boosting rounds selected on validation."""

    features: Features
    models: PriceModels
    choices: dict[str, float]


def fit_price_models(listed: pd.DataFrame, parameters: BaselineParameters) -> FittedPriceModel:
    """Fit every model on the training split; select penalties and boosting rounds on validation.

    Args:
        listed: listings with unflagged price, group and split; the test split is not used.
        parameters: features, models, number of training listings, and seed.
    """
    from sklearn.linear_model import LinearRegression

    train, validation = (
        listed.iloc[split_rows(listed, split)] for split in ("train", "validation")
    )
    train = train.iloc[
        sample_rows(train["product_id"].to_list(), parameters.max_listings, parameters.seed)
    ]
    train_target = np.log(train["price"].to_numpy())
    validation_target = np.log(validation["price"].to_numpy())
    features = _fit_features(train, parameters)
    train_inputs = price_inputs(features, train)
    validation_inputs = price_inputs(features, validation)
    penalties = parameters.price.ridge_penalties
    ridge_text, text_penalty = _best_ridge(
        (train_inputs.text, train_target), (validation_inputs.text, validation_target), penalties
    )
    ridge, penalty = _best_ridge(
        (train_inputs.both, train_target), (validation_inputs.both, validation_target), penalties
    )
    out_of_fold = [
        _predict_out_of_fold(inputs, train_target, train["group"], alpha, parameters)
        for inputs, alpha in ((train_inputs.text, text_penalty), (train_inputs.both, penalty))
    ]
    predicted = [
        ridge_text.predict(validation_inputs.text),
        ridge.predict(validation_inputs.both),
    ]
    booster, rounds = _train_trees(
        (np.column_stack([train_inputs.dense, *out_of_fold]), train_target),
        (np.column_stack([validation_inputs.dense, *predicted]), validation_target),
        parameters,
    )
    models = PriceModels(
        median=float(np.median(train_target)),
        path_medians=_path_medians(train["category_path"], train_target, parameters),
        linear=LinearRegression().fit(train_inputs.table, train_target),
        ridge_text=ridge_text,
        ridge=ridge,
        booster=booster,
    )
    choices = {"ridge_text_penalty": text_penalty, "ridge_penalty": penalty, "rounds": rounds}
    return FittedPriceModel(features, models, choices)


def predict_log_prices(
    features: Features, models: PriceModels, products: pd.DataFrame
) -> dict[str, Log]:
    """Predict natural log prices by model, the trivial model first: float64, (listings,)."""
    import lightgbm

    inputs = price_inputs(features, products)
    ridges = [models.ridge_text.predict(inputs.text), models.ridge.predict(inputs.both)]
    booster = lightgbm.Booster(model_str=models.booster)
    trees = np.asarray(booster.predict(np.column_stack([inputs.dense, *ridges])))
    by_path = [_median_of(models, path, features.separator) for path in products["category_path"]]
    return {
        TRIVIAL: np.full(len(products), models.median),
        "median_by_path": np.asarray(by_path, dtype=np.float64),
        "linear": models.linear.predict(inputs.table),
        "ridge_text": ridges[0],
        "ridge": ridges[1],
        "trees": trees,
        "ridge_and_trees": (ridges[1] + trees) / 2,
    }


def price_inputs(features: Features, products: pd.DataFrame) -> Inputs:
    """Transform listings into model inputs."""
    from scipy.sparse import hstack

    rest = price_table(products, features.separator)
    text = features.text.transform(text_table(products))
    table = features.table.transform(rest)
    dense = np.hstack([features.codes.transform(rest), features.reduced.transform(text)])
    return Inputs(text, table, hstack([text, table]).tocsr(), dense)


def _fit_features(train: pd.DataFrame, parameters: BaselineParameters) -> Features:
    from sklearn.decomposition import TruncatedSVD

    text = text_features(parameters.text, len(train))
    text_inputs = fit_text(text, text_table(train))
    rest = price_table(train, parameters.price.separator)
    components = max(1, min(parameters.price.trees.text_svd_components, min(text_inputs.shape) - 1))
    return Features(
        separator=parameters.price.separator,
        text=text,
        table=linear_features(parameters.price).fit(rest),
        codes=tree_features().fit(rest),
        reduced=TruncatedSVD(components, random_state=parameters.seed).fit(text_inputs),
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


def _predict_out_of_fold(
    inputs: Any, targets: Log, groups: pd.Series, penalty: float, parameters: BaselineParameters
) -> Log:
    """Return out-of-fold predictions of a ridge regression, as unbiased inputs for the trees."""
    from sklearn.linear_model import Ridge

    predictions = np.empty(len(targets))
    for train, test in group_folds(groups, parameters.folds, parameters.seed):
        ridge = Ridge(alpha=penalty).fit(inputs[train], targets[train])
        predictions[test] = ridge.predict(inputs[test])
    return predictions


def _train_trees(
    train: tuple[Any, Log], validation: tuple[Any, Log], parameters: BaselineParameters
) -> tuple[str, int]:
    """Train LightGBM with early stopping on validation; equal inputs give equal model text."""
    import lightgbm

    trees = parameters.price.trees
    settings = trees.model_dump(
        exclude={"num_boost_round", "early_stopping_rounds", "text_svd_components"}
    ) | {
        "subsample_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": parameters.seed,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(*train)
    booster = lightgbm.train(
        settings,
        data,
        trees.num_boost_round,
        valid_sets=[lightgbm.Dataset(*validation, reference=data)],
        callbacks=[lightgbm.early_stopping(trees.early_stopping_rounds, verbose=False)],
    )
    return booster.model_to_string(num_iteration=booster.best_iteration), booster.best_iteration
