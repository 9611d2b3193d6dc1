"""A ranker learned from graded searches: gradient-boosted trees that look at pairs (LambdaMART; Burges,
2010)."""

import re
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.compute.parallel import openmp_threads
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.pipelines.ranking.judged_candidates import JudgedCandidates
from fb_marketplace_serving.search.ranking_features import FEATURES

GAINS: Final = (0, 1, 3, 7)
"""Of the grades from 0 to 3: 2^g - 1."""

FOLDS: Final = 5

_THREADS: Final = re.compile(r"\[num_threads: \d+\]")

TRAINING_KINDS: Final = 100
"""Candidates of a search that are learned from: of those further down hardly one is worth a thing."""


class RankingDataset(NamedTuple):
    """Graded searches as the trees see them.

    Attributes:
        features: float64, (candidates, features).
        grades: int8, (candidates,).
        sizes: int64, (searches,), candidates of each.
        groups: (searches,), the group of listings that each is about.
        weights: float64, (candidates,), how much each counts; all the same without it.
    """

    features: NDArray[np.float64]
    grades: NDArray[np.int8]
    sizes: NDArray[np.int64]
    groups: NDArray[np.str_]
    weights: NDArray[np.float64] | None = None


def ranking_dataset(searched: list[JudgedCandidates]) -> RankingDataset:
    """Take what can be learned from searches: the candidates that the sources together put first."""
    some = [each for each in searched if len(each.pool)]
    first = [np.lexsort((each.pool.positions, -each.pool.fused))[:TRAINING_KINDS] for each in some]
    return RankingDataset(
        np.concatenate([each.features[rows] for each, rows in zip(some, first, strict=True)]),
        np.concatenate([each.grades[rows] for each, rows in zip(some, first, strict=True)]),
        np.array([len(rows) for rows in first], np.int64),
        np.array([each.asked.group for each in some]),
    )


def train_lambdamart(
    lessons: RankingDataset, parameters: RankerParameters
) -> tuple[bytes, dict[str, Any]]:
    """Train the ranker, with as many trees as were best over folds of groups.

    Args:
        lessons: graded searches.
        parameters: of the trees.

    Returns:
        The model in LightGBM's text format; and the number of ``trees``, of ``folds``, which is that of
        groups where there are fewer than five, and the ``ndcg_at_10`` of the folds.

    Raises:
        UserError: the searches are about one group alone, so that nothing is left to measure on.
    """
    import lightgbm

    folds = _folds(lessons, parameters.seed)
    if len(folds) < 2:
        raise UserError(
            f"found {len(lessons.sizes):,} searches to learn a ranker from, all about one group of "
            "listings; expected two groups: give more listings, or a larger share of validation under "
            "`splits:` in parameters_cleaning.yml"
        )
    told = _told(parameters)
    data = _dataset(lessons)
    tried: dict[str, Any] = lightgbm.cv(
        told,
        data,
        num_boost_round=parameters.num_boost_round,
        folds=folds,
        callbacks=[lightgbm.early_stopping(parameters.early_stopping_rounds, verbose=False)],
    )
    name = "valid ndcg@10-mean"
    trees = max(1, len(tried[name]))
    booster = lightgbm.train(told, _dataset(lessons), num_boost_round=trees)
    # LightGBM writes down how many threads there were, on which the trees do not hang.
    model = _THREADS.sub("[num_threads: 1]", booster.model_to_string())
    card = {"trees": trees, "folds": len(folds), "ndcg_at_10_of_folds": round(max(tried[name]), 4)}
    return model.encode(), card


def _told(parameters: RankerParameters) -> dict[str, Any]:
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "label_gain": list(GAINS),
        "lambdarank_truncation_level": parameters.lambdarank_truncation_level,
        "learning_rate": parameters.learning_rate,
        "num_leaves": parameters.num_leaves,
        "min_data_in_leaf": parameters.min_data_in_leaf,
        "lambda_l2": parameters.lambda_l2,
        "feature_fraction": parameters.feature_fraction,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "bagging_by_query": True,
        "seed": parameters.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": openmp_threads(),
        "verbose": -1,
    }


def _dataset(lessons: RankingDataset) -> Any:
    import lightgbm

    return lightgbm.Dataset(
        lessons.features,
        lessons.grades.astype(np.int32),
        group=lessons.sizes,
        weight=lessons.weights,
        feature_name=list(FEATURES),
        free_raw_data=False,
        params={"verbose": -1},
    )


def _folds(lessons: RankingDataset, seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Cut searches into folds that share no group; gives the rows to learn from, and those to measure
    on."""
    names, place = np.unique(lessons.groups, return_inverse=True)
    fold_of_group = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    fold = np.repeat(fold_of_group[place], lessons.sizes)
    return [
        (np.flatnonzero(fold != each), np.flatnonzero(fold == each))
        for each in range(min(FOLDS, len(names)))
    ]
