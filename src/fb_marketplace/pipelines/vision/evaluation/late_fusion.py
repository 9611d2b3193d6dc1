"""A listing's photos and its text together: a log-linear pool with few weights, from validation."""

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
"""What no probability falls below: one source that is sure of itself must not overrule the other."""

UNFITTED: Final = np.array([0.5, 0.5, 0.0])
"""Weights where nothing is known: the geometric mean of photos and text."""


class FusionWeights(NamedTuple):
    """Weights of logarithms.

    Attributes:
        photos: of what the photos say.
        text: of what the text says.
        prior: of how common a category is; below 0 where both sources know, and would count it twice.
        text_alone: of what the text says, for a listing without photos.
    """

    photos: float
    text: float
    prior: float
    text_alone: float


class FusedPredictions(NamedTuple):
    """What photos, text and both say of each listing, and how they were weighed."""

    predictions: pd.DataFrame
    choices: dict[str, Any]


def fuse_products(
    vision_predictions: pd.DataFrame,
    category_text_probabilities: pd.DataFrame,
    products: pd.DataFrame,
    splits: pd.DataFrame,
) -> FusedPredictions:
    """Weigh photos and text on validation, and answer every listing of validation and test.

    Args:
        vision_predictions: what is said of each photo.
        category_text_probabilities: what the text of each listing says.
        products: the listings, for their categories.
        splits: where each belongs, for its group.

    Returns:
        ``product_predictions``: one row a listing; and ``fusion``: the weights, and how common each
        category is in the training split.

    Raises:
        UserError: the text was read for other listings, splits or categories.
    """
    labels = class_labels(products)
    where = splits.drop_duplicates("product_id")[["product_id", "group", "split"]]
    _check_text(category_text_probabilities, where, len(labels))
    listed = (
        category_text_probabilities[["product_id", "probabilities"]]
        .rename(columns={"probabilities": "by_text"})
        .merge(products[["product_id", "category"]], on="product_id", validate="1:1")
        .merge(where[where["split"].isin(EVALUATION_SPLITS)], on="product_id", validate="1:1")
        .sort_values("product_id", ignore_index=True)
    )
    shares = _shares(products, splits, labels)
    predictions, pool = fuse(listed, vision_predictions, labels, shares)
    choices = {
        "weights": {name: round(weight, 6) for name, weight in pool._asdict().items()},
        "prior": dict(zip(labels, shares.round(6).tolist(), strict=True)),
        "products": int((predictions["split"] == "validation").sum()),
    }
    return FusedPredictions(predictions, choices)


def _check_text(text: pd.DataFrame, where: pd.DataFrame, labels: int) -> None:
    """Refuse answers of another cleaning: a listing that was learned from must not be tested on."""
    found = dict(zip(text["product_id"], text["split"], strict=True))
    expected = dict(zip(where["product_id"], where["split"], strict=True))
    other = sum(found.get(listing) != split for listing, split in expected.items())
    width = len(text["probabilities"].iloc[0]) if len(text) else labels
    if other or len(found) != len(expected) or width != labels:
        raise UserError(
            f"category_text_probabilities is of another cleaning: of {len(expected):,} listings {other:,} "
            f"are missing or in another split, {len(found):,} were read, with {width} categories of "
            f"{labels}; run `kedro run --pipeline=baselines` first"
        )


def fuse(
    listed: pd.DataFrame, photos: pd.DataFrame, labels: tuple[str, ...], shares: Floats
) -> tuple[pd.DataFrame, FusionWeights]:
    """Fuse listings whose text has been read with what is said of their photos.

    Args:
        listed: listings with group, split, category and ``by_text``.
        photos: predictions by photo.
        labels: the root categories, sorted.
        shares: how common each is in the training split.

    Returns:
        Rows of ``product_predictions``, and the weights.
    """
    means, counts = _mean_by_product(photos, listed["product_id"], len(labels))
    text = to_matrix(listed["by_text"], len(labels))
    places = {label: place for place, label in enumerate(labels)}
    classes = np.asarray([places[each] for each in listed["category"]], dtype=np.int64)
    chosen_on = (listed["split"] == "validation").to_numpy()
    seen, held = counts > 0, np.asarray(chosen_on)
    both, alone = held & seen, held & ~seen
    pool = fit_fusion_weights(
        means[both], text[both], classes[both], text[alone], classes[alone], shares
    )
    fused = np.where(
        seen[:, None],
        fuse_with_weights(pool, means, text, shares),
        softmax(pool.text_alone * _log(text)),
    ).astype(np.float32)
    by_photos = [
        row if count else None for row, count in zip(means.astype(np.float32), counts, strict=True)
    ]
    rows = listed[["product_id", "group", "split", "category"]].astype("str")
    answered = rows.assign(
        photos=counts,
        by_photos=pd.Series(by_photos, index=rows.index, dtype=object),
        by_text=pd.Series(list(text.astype(np.float32)), index=rows.index, dtype=object),
        probabilities=pd.Series(list(fused), index=rows.index, dtype=object),
    )
    return answered, pool


def fuse_with_weights(pool: FusionWeights, photos: Floats, text: Floats, shares: Floats) -> Floats:
    """Pool what photos and text say of listings: (listings, labels), each row together one.

    A log-linear pool (Genest & Zidek, 1986); the scale of its weights is a temperature.
    """
    weighed = pool.photos * _log(photos) + pool.text * _log(text) + pool.prior * _log(shares)
    return softmax(weighed)


def fit_fusion_weights(
    photos: Floats,
    text: Floats,
    classes: NDArray[np.int64],
    text_alone: Floats,
    classes_alone: NDArray[np.int64],
    shares: Floats,
) -> FusionWeights:
    """Find the weights of least log loss, convex, with one case's worth of pull to those unfitted.

    Args:
        photos: (listings, labels), what photos say of listings that have some.
        text: (listings, labels), what their text says.
        classes: (listings,), what is true of them.
        text_alone: (others, labels), what the text says of listings without photos.
        classes_alone: (others,), what is true of those.
        shares: (labels,), how common each is in the training split.
    """
    sources = np.stack([_log(photos), _log(text), np.broadcast_to(_log(shares), photos.shape)])
    both = _fit(sources, classes, UNFITTED, [(0, None), (0, None), (None, None)])
    alone = _fit(_log(text_alone)[np.newaxis], classes_alone, np.ones(1), [(0, None)])
    return FusionWeights(*both, *alone)


def _fit(
    sources: Floats, classes: NDArray[np.int64], unfitted: Floats, bounds: list[Any]
) -> list[float]:
    from scipy.optimize import minimize

    cases = np.arange(len(classes))
    true = sources[:, cases, classes].sum(axis=1)

    def loss(weights: Floats) -> tuple[float, Floats]:
        said = softmax(np.tensordot(weights, sources, 1))
        pull = weights - unfitted
        slope = (sources * said).sum(axis=(1, 2)) - true + pull
        return float(log_losses(said, classes).sum() + (pull**2).sum() / 2), slope

    found = minimize(loss, unfitted, jac=True, bounds=bounds, method="L-BFGS-B")
    return [float(weight) for weight in found.x]


def _mean_by_product(
    photos: pd.DataFrame, product_ids: "pd.Series[str]", labels: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Give the mean of the probabilities of each listing's photos, and how many they are."""
    places = {product_id: place for place, product_id in enumerate(product_ids)}
    known = photos[photos["product_id"].isin(places)]
    row_of = np.asarray([places[each] for each in known["product_id"]], dtype=np.int64)
    sums, counts = np.zeros((len(places), labels)), np.zeros(len(places), dtype=np.int64)
    np.add.at(sums, row_of, to_matrix(known["probabilities"], labels))
    np.add.at(counts, row_of, 1)
    return sums / np.maximum(counts, 1)[:, None], counts


def _shares(products: pd.DataFrame, splits: pd.DataFrame, labels: tuple[str, ...]) -> Floats:
    """How common each category is in the training split, none being impossible (Laplace)."""
    training = splits.loc[splits["split"] == "train", "product_id"]
    found = products.loc[products["product_id"].isin(training), "category"].value_counts()
    counts = found.reindex(list(labels), fill_value=0).to_numpy(dtype=np.float64) + 1
    shares: Floats = counts / counts.sum()
    return shares


def _log(probabilities: Floats) -> Floats:
    logarithms: Floats = np.log(np.maximum(probabilities, EPSILON))
    return logarithms
