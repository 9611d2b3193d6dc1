"""What a careless split would have claimed: the same head, learnt and asked on both kinds of split."""

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
    measuring: EvaluationParameters,
) -> dict[str, Any]:
    """Compare a linear layer on the frozen backbone, split by group, with the same at random by photo.

    Args:
        vision_features: the frozen backbone's features of every photo.
        products: the listings, for their categories.
        splits: the honest split, in which no group crosses.
        parameters: recipe of the head, and the seed by which photos are shuffled.
        measuring: of the bootstrap.

    Returns:
        For ``honest`` and ``random``: ``top1`` on test, ``top1_commonest_category``, and
        ``sibling_in_training``, the share of the test photos of whose group (their listing, its
        copies and near copies) training has a photo; ``difference``, random less honest, and
        ``photos`` of each split, which are the same.
    """
    honest = make_feature_set(vision_features, products, splits)
    shuffled = np.random.default_rng(parameters.seed).permutation(honest.split)
    asked = {
        "honest": _ask(honest, parameters, measuring),
        "random": _ask(honest._replace(split=shuffled), parameters, measuring),
    }
    sizes = [len(each.right) for each in asked.values()]
    columns = [
        np.concatenate([each.right for each in asked.values()]).astype(np.float64),
        np.repeat([False, True], sizes),
    ]
    # A group that both splits ask about is drawn for both.
    groups = np.concatenate([each.groups for each in asked.values()])
    difference = statistic_by_group(_random_less_honest, columns, groups, *_told(measuring))
    counts = {split: int((honest.split == split).sum()) for split in ("train", *EVALUATION_SPLITS)}
    return {
        **{name: each.measured for name, each in asked.items()},
        "difference": difference.to_dict(),
        "photos": counts,
    }


class _Asked(NamedTuple):
    right: NDArray[np.bool_]
    groups: NDArray[np.str_]
    measured: dict[str, Any]


def _ask(
    found: FeatureSet, parameters: VisionParameters, measuring: EvaluationParameters
) -> _Asked:
    head, _ = train_head(found, parameters, hidden=0)
    part = found.split == "test"
    classes, groups = found.classes[part], found.groups[part]
    commonest = np.bincount(found.classes[found.split == "train"]).argmax()
    right = predict(head, found.features[part], parameters).argmax(axis=1) == classes
    measured = {
        "top1": right,
        "top1_commonest_category": classes == commonest,
        "sibling_in_training": siblings_in_training(found),
    }
    told = _told(measuring)
    estimates = {
        name: mean_by_group(values, groups, *told).to_dict() for name, values in measured.items()
    }
    return _Asked(right, groups, estimates)


def siblings_in_training(found: FeatureSet) -> NDArray[np.bool_]:
    """Say of each test photo whether training has a photo of its group."""
    learnt = found.groups[found.split == "train"]
    return np.isin(found.groups[found.split == "test"], learnt)


def _random_less_honest(right: NDArray[np.float64], is_random: NDArray[np.bool_]) -> float:
    if is_random.all() or not is_random.any():
        return float("nan")
    return float(right[is_random].mean() - right[~is_random].mean())


def _told(measuring: EvaluationParameters) -> tuple[int, float, int]:
    return measuring.bootstrap_samples, measuring.confidence, measuring.seed
