"""Models of the logarithm of the price, from the trivial to trees on top of ridges."""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    """What listings are turned into, fitted on the training split; skops can write each part.

    Attributes:
        separator: what parts a category path.
        text: features of the text.
        table: features of the rest, for linear models.
        codes: features of the rest, for trees.
        reduced: truncated SVD of the text, for trees.
    """

    separator: str
    text: Any
    table: Any
    codes: Any
    reduced: Any


class Inputs(NamedTuple):
    """Listings as models see them: sparse text, sparse rest, both side by side, and dense for trees."""

    text: Any
    table: Any
    both: Any
    dense: Any


class PriceModels(NamedTuple):
    """All models, fitted; skops can write each part.

    Attributes:
        median: logarithm of the median of the training prices.
        path_medians: the same for each category path, and each above it, with enough listings.
        linear: on the table; the original's.
        ridge_text: on the text.
        ridge: on both.
        booster: trees on the rest, the reduced text and the answers of both ridges, as LightGBM's text.
    """

    median: float
    path_medians: dict[str, float]
    linear: Any
    ridge_text: Any
    ridge: Any
    booster: str


class FittedPriceModel(NamedTuple):
    """Features, models, and the penalties and rounds that validation chose."""

    features: Features
    models: PriceModels
    choices: dict[str, float]


def fit_price_models(listed: pd.DataFrame, parameters: BaselineParameters) -> FittedPriceModel:
    """Fit every model on the training split; penalties and rounds are chosen on validation.

    Args:
        listed: listings whose price is meant, with group and split; ``test`` is not looked at.
        parameters: features, models and seed.
    """
    from sklearn.linear_model import LinearRegression

    train, held = (listed.iloc[split_rows(listed, split)] for split in ("train", "validation"))
    truth, asked = np.log(train["price"].to_numpy()), np.log(held["price"].to_numpy())
    features = _fit_features(train, parameters)
    seen, unseen = price_inputs(features, train), price_inputs(features, held)
    penalties = parameters.price.ridge_penalties
    ridge_text, text_penalty = _best_ridge((seen.text, truth), (unseen.text, asked), penalties)
    ridge, penalty = _best_ridge((seen.both, truth), (unseen.both, asked), penalties)
    honest = [
        _out_of_fold(inputs, truth, train["group"], each, parameters)
        for inputs, each in ((seen.text, text_penalty), (seen.both, penalty))
    ]
    answered = [ridge_text.predict(unseen.text), ridge.predict(unseen.both)]
    booster, rounds = _grow(
        (np.column_stack([seen.dense, *honest]), truth),
        (np.column_stack([unseen.dense, *answered]), asked),
        parameters,
    )
    models = PriceModels(
        median=float(np.median(truth)),
        path_medians=_path_medians(train["category_path"], truth, parameters),
        linear=LinearRegression().fit(seen.table, truth),
        ridge_text=ridge_text,
        ridge=ridge,
        booster=booster,
    )
    choices = {"ridge_text_penalty": text_penalty, "ridge_penalty": penalty, "rounds": rounds}
    return FittedPriceModel(features, models, choices)


def predict_log_prices(
    features: Features, models: PriceModels, products: pd.DataFrame
) -> dict[str, Log]:
    """Give what each model answers for each listing, as natural logarithms, the trivial one first."""
    import lightgbm

    found = price_inputs(features, products)
    ridges = [models.ridge_text.predict(found.text), models.ridge.predict(found.both)]
    booster = lightgbm.Booster(model_str=models.booster)
    trees = np.asarray(booster.predict(np.column_stack([found.dense, *ridges])))
    by_path = [_median_of(models, path, features.separator) for path in products["category_path"]]
    return {
        TRIVIAL: np.full(len(products), models.median),
        "median_by_path": np.asarray(by_path, dtype=np.float64),
        "linear": models.linear.predict(found.table),
        "ridge_text": ridges[0],
        "ridge": ridges[1],
        "trees": trees,
        "ridge_and_trees": (ridges[1] + trees) / 2,
    }


def price_inputs(features: Features, products: pd.DataFrame) -> Inputs:
    """Turn listings into what models see."""
    from scipy.sparse import hstack

    rest = price_table(products, features.separator)
    text = features.text.transform(text_table(products))
    table = features.table.transform(rest)
    dense = np.hstack([features.codes.transform(rest), features.reduced.transform(text)])
    return Inputs(text, table, hstack([text, table]).tocsr(), dense)


def _fit_features(train: pd.DataFrame, parameters: BaselineParameters) -> Features:
    from sklearn.decomposition import TruncatedSVD

    text = text_features(parameters.text, len(train))
    said = fit_text(text, text_table(train))
    rest = price_table(train, parameters.price.separator)
    components = max(1, min(parameters.price.trees.components, min(said.shape) - 1))
    return Features(
        separator=parameters.price.separator,
        text=text,
        table=linear_features(parameters.price).fit(rest),
        codes=tree_features().fit(rest),
        reduced=TruncatedSVD(components, random_state=parameters.seed).fit(said),
    )


def _median_of(models: PriceModels, path: str, separator: str) -> float:
    known = models.path_medians
    return next(
        (known[each] for each in path_prefixes(path, separator) if each in known), models.median
    )


def _path_medians(paths: pd.Series, truth: Log, parameters: BaselineParameters) -> dict[str, float]:
    prefixes = [path_prefixes(path, parameters.price.separator) for path in paths]
    priced = pd.DataFrame({"path": prefixes, "price": truth}).explode("path")
    found = priced.groupby("path")["price"].agg(["median", "size"])
    enough = found[found["size"] >= parameters.price.min_path_listings]
    return {str(path): float(median) for path, median in enough["median"].items()}


def _best_ridge(
    learnt: tuple[Any, Log], asked: tuple[Any, Log], penalties: tuple[float, ...]
) -> tuple[Any, float]:
    """Fit a ridge for each penalty, and keep what errs least where it is asked."""
    from sklearn.linear_model import Ridge

    fitted = [Ridge(alpha=penalty).fit(*learnt) for penalty in penalties]
    errors = [np.square(each.predict(asked[0]) - asked[1]).mean() for each in fitted]
    best = int(np.argmin(errors))
    return fitted[best], penalties[best]


def _out_of_fold(
    inputs: Any, truth: Log, groups: pd.Series, penalty: float, parameters: BaselineParameters
) -> Log:
    """Give a ridge's answers for listings that it did not learn from: what trees may learn from."""
    from sklearn.linear_model import Ridge

    answers = np.empty(len(truth))
    for learnt, asked in group_folds(groups, parameters.folds, parameters.seed):
        ridge = Ridge(alpha=penalty).fit(inputs[learnt], truth[learnt])
        answers[asked] = ridge.predict(inputs[asked])
    return answers


def _grow(
    learnt: tuple[Any, Log], asked: tuple[Any, Log], parameters: BaselineParameters
) -> tuple[str, int]:
    """Grow trees until validation gains nothing more; the same inputs give the same text."""
    import lightgbm

    trees = parameters.price.trees
    told = trees.model_dump(exclude={"rounds", "patience", "components"}) | {
        "subsample_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": parameters.seed,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(*learnt)
    booster = lightgbm.train(
        told,
        data,
        trees.rounds,
        valid_sets=[lightgbm.Dataset(*asked, reference=data)],
        callbacks=[lightgbm.early_stopping(trees.patience, verbose=False)],
    )
    return booster.model_to_string(num_iteration=booster.best_iteration), booster.best_iteration
