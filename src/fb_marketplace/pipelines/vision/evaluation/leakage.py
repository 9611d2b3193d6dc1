"""Leakage: accuracy of the linear baseline on the group split and on a random split by photo."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group, statistic_by_group
from fb_marketplace.parameters.vision import EvaluationParameters, VisionParameters
from fb_marketplace.pipelines.vision.training.linear_probe import (
    FeatureSet,
    make_feature_set,
    predict,
    train_head,
)
from fb_marketplace.schemas.splits import EVALUATION_SPLITS
from fb_marketplace.storage.keyed_table import Table


def report_leakage(
    vision_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters,
    evaluation: EvaluationParameters,
) -> dict[str, Any]:
    """Compare the accuracy of a linear layer on the frozen backbone under both splits.

    Both layers are trained here, on the same photos. The linear baseline may be of an earlier run.

    Args:
        vision_features: the frozen backbone's features of every photo.
        products: the listings, for their categories.
        splits: the group split (``honest``): each group is in one split only.
        parameters: recipe of the layer, and the seed of the random split.
        evaluation: bootstrap settings.

    Returns:
        For ``honest`` and ``random``: ``top1`` on test, ``top1_most_frequent_category``, and
        ``sibling_in_training``, the share of test photos with a photo of their group (their listing, its
        copies and near-duplicates) in the training split; ``difference``, random minus honest; and
        ``photos`` of each split, the same for both.
    """
    honest = make_feature_set(vision_features, products, splits)
    shuffled = np.random.default_rng(parameters.seed).permutation(honest.split)
    random = honest._replace(split=shuffled)
    results = {
        "honest": _evaluate_split(honest, parameters, evaluation),
        "random": _evaluate_split(random, parameters, evaluation),
    }
    sizes = [len(result.correct) for result in results.values()]
    columns = [
        np.concatenate([result.correct for result in results.values()]).astype(np.float64),
        np.repeat([False, True], sizes),
    ]
    # A group that is in both test splits is resampled jointly.
    groups = np.concatenate([result.groups for result in results.values()])
    difference = statistic_by_group(_random_minus_honest, columns, groups, *evaluation.bootstrap)
    counts = {split: int((honest.split == split).sum()) for split in ("train", *EVALUATION_SPLITS)}
    return {
        **{name: result.metrics for name, result in results.items()},
        "difference": difference.to_dict(),
        "photos": counts,
    }


class _Result(NamedTuple):
    correct: NDArray[np.bool_]
    groups: NDArray[np.str_]
    metrics: dict[str, Any]


def _evaluate_split(
    data: FeatureSet, parameters: VisionParameters, evaluation: EvaluationParameters
) -> _Result:
    head, _ = train_head(data, parameters, hidden=0)
    test = data.split == "test"
    classes, groups = data.classes[test], data.groups[test]
    most_common = np.bincount(data.classes[data.split == "train"]).argmax()
    correct = predict(head, data.features[test], parameters).argmax(axis=1) == classes
    values = {
        "top1": correct,
        "top1_most_frequent_category": classes == most_common,
        "sibling_in_training": siblings_in_training(data),
    }
    metrics = {
        name: mean_by_group(cases, groups, *evaluation.bootstrap).to_dict()
        for name, cases in values.items()
    }
    return _Result(correct, groups, metrics)


def siblings_in_training(data: FeatureSet) -> NDArray[np.bool_]:
    """Return, per test photo, whether the training split has a photo of its group: (test photos,)."""
    training = data.groups[data.split == "train"]
    return np.isin(data.groups[data.split == "test"], training)


def _random_minus_honest(correct: NDArray[np.float64], is_random: NDArray[np.bool_]) -> float:
    if is_random.all() or not is_random.any():
        return float("nan")
    return float(correct[is_random].mean() - correct[~is_random].mean())
