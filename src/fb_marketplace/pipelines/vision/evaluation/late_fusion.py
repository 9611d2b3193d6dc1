"""Late fusion of photos and text: a log-linear pool with few weights, fitted on validation."""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.evaluation.predictions import class_labels, to_matrix
from fb_marketplace.ml.probabilities import log_losses, softmax
from fb_marketplace.schemas.splits import EVALUATION_SPLITS

Floats = NDArray[np.float64]

EPSILON: Final = 1e-6
"""Lowest probability: one overconfident source must not overrule the other."""

INITIAL: Final = np.array([0.5, 0.5, 0.0])
"""Initial weights of photos, text and prior: the geometric mean of photos and text."""


class FusionWeights(NamedTuple):
    """Weights of log probabilities.

    Attributes:
        photos: weight of the prediction by photos.
        text: weight of the prediction by text.
        prior: weight of the category frequencies; negative if both predictions contain them already.
        text_alone: weight of the prediction by text, for a listing without photos.
    """

    photos: float
    text: float
    prior: float
    text_alone: float


class FusedPredictions(NamedTuple):
    """Predictions of listings by photos, text and both, and the fusion weights."""

    predictions: pd.DataFrame
    choices: dict[str, Any]


def fuse_products(
    vision_predictions: pd.DataFrame,
    category_text_probabilities: pd.DataFrame,
    products: pd.DataFrame,
    splits: pd.DataFrame,
) -> FusedPredictions:
    """Fit the weights on validation, and predict every listing of validation and test.

    Args:
        vision_predictions: predictions by photo.
        category_text_probabilities: predictions from the text of listings.
        products: the listings, for their categories.
        splits: group and split of each listing.

    Returns:
        ``product_predictions``: one row per listing; and ``fusion``: the weights, and the frequency of
        each category in the training split.

    Raises:
        UserError: the text predictions are for other listings, splits or categories.
    """
    labels = class_labels(products)
    labelled = splits[splits["product_id"].isin(products["product_id"])]
    by_product = labelled.drop_duplicates("product_id")[["product_id", "group", "split"]]
    evaluated = by_product[by_product["split"].isin(EVALUATION_SPLITS)]
    _check_text(category_text_probabilities, evaluated, len(labels))
    listed = (
        category_text_probabilities[["product_id", "probabilities"]]
        .rename(columns={"probabilities": "by_text"})
        .merge(products[["product_id", "category"]], on="product_id", validate="1:1")
        .merge(evaluated, on="product_id", validate="1:1")
        .sort_values("product_id", ignore_index=True)
    )
    shares = _category_shares(products, splits, labels)
    predictions, weights = fuse(listed, vision_predictions, labels, shares)
    choices = {
        "weights": {name: round(weight, 6) for name, weight in weights._asdict().items()},
        "prior": dict(zip(labels, shares.round(6).tolist(), strict=True)),
        "products": int((predictions["split"] == "validation").sum()),
    }
    return FusedPredictions(predictions, choices)


def _check_text(text: pd.DataFrame, evaluated: pd.DataFrame, labels: int) -> None:
    """Raise if the text model was trained on another split: it may have seen the test listings."""
    actual = dict(zip(text["product_id"], text["split"], strict=True))
    expected = dict(zip(evaluated["product_id"], evaluated["split"], strict=True))
    mismatched = sum(actual.get(listing) != split for listing, split in expected.items())
    width = len(text["probabilities"].iloc[0]) if len(text) else labels
    if mismatched or len(actual) != len(expected) or width != labels:
        raise UserError(
            f"category_text_probabilities has {len(actual):,} listings with {width} categories; expected "
            f"{len(expected):,} with {labels}, and {mismatched:,} are missing or in another split. Rerun "
            "`kedro run --pipeline=baselines`."
        )


def fuse(
    listed: pd.DataFrame, photos: pd.DataFrame, labels: tuple[str, ...], shares: Floats
) -> tuple[pd.DataFrame, FusionWeights]:
    """Fuse the text predictions of listings with those of their photos.

    Args:
        listed: listings with group, split, category and ``by_text``.
        photos: predictions by photo.
        labels: the root categories, sorted.
        shares: float64, (labels,), frequency of each category in the training split.

    Returns:
        Rows of ``product_predictions``, and the weights.
    """
    means, counts = _mean_by_product(photos, listed["product_id"], len(labels))
    text = to_matrix(listed["by_text"], len(labels))
    index = {label: position for position, label in enumerate(labels)}
    targets = np.asarray([index[category] for category in listed["category"]], dtype=np.int64)
    validation, has_photos = (listed["split"] == "validation").to_numpy(np.bool_), counts > 0
    both, text_only = validation & has_photos, validation & ~has_photos
    weights = fit_fusion_weights(
        means[both], text[both], targets[both], text[text_only], targets[text_only], shares
    )
    fused = np.where(
        has_photos[:, None],
        fuse_with_weights(weights, means, text, shares),
        softmax(weights.text_alone * _log(text)),
    ).astype(np.float32)
    by_photos = [
        row if count else None for row, count in zip(means.astype(np.float32), counts, strict=True)
    ]
    rows = listed[["product_id", "group", "split", "category"]].astype("str")
    predictions = rows.assign(
        photos=counts,
        by_photos=pd.Series(by_photos, index=rows.index, dtype=object),
        by_text=pd.Series(list(text.astype(np.float32)), index=rows.index, dtype=object),
        probabilities=pd.Series(list(fused), index=rows.index, dtype=object),
    )
    return predictions, weights


def fuse_with_weights(
    weights: FusionWeights, photos: Floats, text: Floats, shares: Floats
) -> Floats:
    """Pool probabilities by photos and by text: float64, (listings, labels).

    A log-linear pool (Genest & Zidek, 1986); the scale of its weights acts as a temperature.
    """
    return softmax(
        weights.photos * _log(photos) + weights.text * _log(text) + weights.prior * _log(shares)
    )


def fit_fusion_weights(
    photos: Floats,
    text: Floats,
    targets: NDArray[np.int64],
    text_alone: Floats,
    targets_alone: NDArray[np.int64],
    shares: Floats,
) -> FusionWeights:
    """Fit the weights by log loss, a convex problem, with a weak L2 penalty towards ``INITIAL``.

    Args:
        photos: (listings, labels), probabilities by photos, of listings with photos.
        text: (listings, labels), their probabilities by text.
        targets: (listings,), index of the true label.
        text_alone: (others, labels), probabilities by text, of listings without photos.
        targets_alone: (others,), index of the true label.
        shares: (labels,), frequency of each category in the training split.
    """
    sources = np.stack([_log(photos), _log(text), np.broadcast_to(_log(shares), photos.shape)])
    both = _fit(sources, targets, INITIAL, [(0, None), (0, None), (None, None)])
    alone = _fit(_log(text_alone)[np.newaxis], targets_alone, np.ones(1), [(0, None)])
    return FusionWeights(*both, *alone)


def _fit(
    sources: Floats, targets: NDArray[np.int64], initial: Floats, bounds: list[Any]
) -> list[float]:
    from scipy.optimize import minimize

    cases = np.arange(len(targets))
    true = sources[:, cases, targets].sum(axis=1)

    def loss(weights: Floats) -> tuple[float, Floats]:
        probabilities = softmax(np.tensordot(weights, sources, 1))
        pull = weights - initial
        gradient = (sources * probabilities).sum(axis=(1, 2)) - true + pull
        return float(log_losses(probabilities, targets).sum() + (pull**2).sum() / 2), gradient

    result = minimize(loss, initial, jac=True, bounds=bounds, method="L-BFGS-B")
    return [float(weight) for weight in result.x]


def _mean_by_product(
    photos: pd.DataFrame, product_ids: "pd.Series[str]", labels: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the mean probabilities of each listing's photos, and the number of photos."""
    index = {product_id: position for position, product_id in enumerate(product_ids)}
    known = photos[photos["product_id"].isin(index)]
    row_of_photo = np.asarray([index[product] for product in known["product_id"]], dtype=np.int64)
    sums, counts = np.zeros((len(index), labels)), np.zeros(len(index), dtype=np.int64)
    np.add.at(sums, row_of_photo, to_matrix(known["probabilities"], labels))
    np.add.at(counts, row_of_photo, 1)
    return sums / np.maximum(counts, 1)[:, None], counts


def _category_shares(
    products: pd.DataFrame, splits: pd.DataFrame, labels: tuple[str, ...]
) -> Floats:
    """Compute the frequency of each category in the training split, with Laplace smoothing."""
    training = splits.loc[splits["split"] == "train", "product_id"]
    frequency = products.loc[products["product_id"].isin(training), "category"].value_counts()
    counts = frequency.reindex(list(labels), fill_value=0).to_numpy(dtype=np.float64) + 1
    shares: Floats = counts / counts.sum()
    return shares


def _log(probabilities: Floats) -> Floats:
    logarithms: Floats = np.log(np.maximum(probabilities, EPSILON))
    return logarithms
