"""Drift between today's listings and those that the network was trained on."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.predictions import predictions_for_split
from fb_marketplace.parameters.vision import DriftParameters, EvaluationParameters
from fb_marketplace.schemas.splits import EVALUATION_SPLITS
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import read_vectors

BINS: Final = 10
"""Bins of distances to the mean embedding: deciles of the listings of the training."""


def report_drift(
    training_listings: pd.DataFrame,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    image_embeddings: Table,
    vision_predictions: pd.DataFrame,
    vision_labels: list[str],
    parameters: EvaluationParameters,
) -> dict[str, Any]:
    """Compare today's listings with those at the training, and decide whether a retraining is due.

    Args:
        training_listings: the labelled listings at that time, with their splits.
        products: the listings whose category is a class.
        splits: group and split of each photo.
        image_embeddings: embeddings of all photos.
        vision_predictions: predictions of validation and test photos.
        vision_labels: the classes.
        parameters: limits of the drift, and the bootstrap.

    Returns:
        ``listings``: counts; of the ``new`` ones, ``not_evaluated`` share a group with a listing that the
        network was trained on. ``new_share`` and ``gone_share`` of the listings at the training.
        ``label_mix`` and ``embeddings``, with the population stability index (``psi``). ``accuracy`` of
        photos: of ``known`` listings in test, and of ``new`` ones in validation and test; None if there
        are none. And ``retraining_due`` with ``reasons``.
    """
    known, today = set(training_listings["product_id"]), set(products["product_id"])
    trained = set(training_listings.loc[training_listings["split"] == "train", "product_id"])
    of_listing = splits.drop_duplicates("product_id")
    with_trained = set(of_listing.loc[of_listing["product_id"].isin(trained), "group"])
    is_new = of_listing["product_id"].isin(today - known)
    counts = {
        "at_training": len(known),
        "today": len(today),
        "new": len(today - known),
        "gone": len(known - today),
        "trained_on": len(trained),
        "trained_on_and_gone": len(trained - today),
        "not_evaluated": int((is_new & of_listing["group"].isin(with_trained)).sum()),
    }
    accuracy = {
        "known": _accuracy(vision_predictions, known, ["test"], vision_labels, parameters),
        "new": _accuracy(
            vision_predictions, today - known, EVALUATION_SPLITS, vision_labels, parameters
        ),
    }
    report: dict[str, Any] = {
        "listings": counts,
        "new_share": round(counts["new"] / max(len(known), 1), 4),
        "gone_share": round(counts["gone"] / max(len(known), 1), 4),
        "label_mix": _label_mix(training_listings["category"], products["category"], vision_labels),
        "embeddings": _embedding_drift(image_embeddings, splits, known, today),
        "accuracy": accuracy,
    }
    reasons = drift_reasons(report, parameters.drift)
    limits = parameters.drift.model_dump(mode="json")
    return report | {"retraining_due": bool(reasons), "reasons": reasons, "limits": limits}


def drift_reasons(report: dict[str, Any], limits: DriftParameters) -> list[str]:
    """Return the limits that a report exceeds, as sentences; empty if no retraining is due."""
    share = max(report["new_share"], report["gone_share"])
    values = {
        f"{share:.1%} of the listings changed": share > limits.max_changed_share,
    } | {
        f"the population stability index of {name} is {report[name]['psi']:.2f}": (
            report[name]["psi"] > limits.max_psi
        )
        for name in ("label_mix", "embeddings")
    }
    known, new = report["accuracy"]["known"], report["accuracy"]["new"]
    if known and new:
        drop = known["value"] - new["value"]
        is_worse = new["high"] < known["value"] and drop > limits.max_accuracy_drop
        values[f"accuracy on new listings is {drop:.3f} lower"] = is_worse
    return [reason for reason, is_exceeded in values.items() if is_exceeded]


def population_stability_index(expected: NDArray[np.int64], actual: NDArray[np.int64]) -> float:
    """Compute the population stability index of two counts by bin.

    It is 0 if the shares are equal. A value above 0.2 is commonly called a shift.

    Half a case is added to each bin, so that empty bins have a logarithm.
    """
    before, after = ((counts + 0.5) / (counts + 0.5).sum() for counts in (expected, actual))
    return round(float(((after - before) * np.log(after / before)).sum()), 4)


def _label_mix(then: "pd.Series[str]", now: "pd.Series[str]", labels: list[str]) -> dict[str, Any]:
    before, after = (
        np.asarray([(values == label).sum() for label in labels], dtype=np.int64)
        for values in (then, now)
    )
    return {
        "psi": population_stability_index(before, after),
        "at_training": dict(zip(labels, before.tolist(), strict=True)),
        "today": dict(zip(labels, after.tolist(), strict=True)),
    }


def _embedding_drift(
    image_embeddings: Table, splits: pd.DataFrame, known: set[str], today: set[str]
) -> dict[str, Any]:
    """Compare the photos of known listings that remain with all photos of today."""
    vectors = read_vectors(image_embeddings, "image_id", "embedding")
    photos = splits.dropna(subset="image_id")
    ids = {
        name: photos.loc[photos["product_id"].isin(listings), "image_id"].to_list()
        for name, listings in (("known", known & today), ("today", today))
    }
    counts = {f"{name}_photos": len(images) for name, images in ids.items()}
    if not ids["known"]:
        return {"psi": 0.0, "mean_cosine": None, **counts}
    before, after = vectors.select(ids["known"]), vectors.select(ids["today"])
    mean, mean_today = before.mean(axis=0), after.mean(axis=0)
    length = float(np.linalg.norm(mean) * np.linalg.norm(mean_today))
    distances = [np.linalg.norm(part - mean, axis=1) for part in (before, after)]
    inner = np.quantile(distances[0], np.linspace(0, 1, BINS + 1)[1:-1])
    histograms = [
        np.bincount(np.searchsorted(inner, part), minlength=BINS).astype(np.int64)
        for part in distances
    ]
    return {
        "psi": population_stability_index(*histograms),
        "mean_cosine": round(float(mean @ mean_today) / max(length, 1e-12), 4),
        "mean_distance": [round(float(part.mean()), 4) for part in distances],
        **counts,
    }


def _accuracy(
    predictions: pd.DataFrame,
    listings: set[str],
    splits: Sequence[str],
    labels: list[str],
    parameters: EvaluationParameters,
) -> dict[str, Any] | None:
    rows = predictions[predictions["product_id"].isin(listings)]
    parts = [predictions_for_split(rows, split, tuple(labels)) for split in splits]
    correct = np.concatenate([part.correct for part in parts])
    if not len(correct):
        return None
    groups = np.concatenate([part.groups for part in parts])
    return mean_by_group(correct, groups, *parameters.bootstrap).to_dict()
