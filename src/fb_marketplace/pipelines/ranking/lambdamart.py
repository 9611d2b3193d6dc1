"""Training of gradient-boosted trees that rank candidates (LambdaMART; Burges, 2010)."""

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.compute.threads import openmp_threads
from fb_marketplace.evaluation.retrieval_metrics import DEPTH, ndcg_at
from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.pipelines.ranking.training_data import RankingDataset
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES

GAINS: Final = (0, 1, 3, 7)
"""Gains of grades 0 to 3: 2^g - 1."""

FOLDS: Final = 5

_THREADS: Final = re.compile(r"\[num_threads: \d+\]")


def train_lambdamart(
    dataset: RankingDataset, parameters: RankerParameters
) -> tuple[bytes, dict[str, Any]]:
    """Train the ranker with the number of trees that is best in cross-validation over groups.

    Args:
        dataset: graded queries.
        parameters: parameters of the trees.

    Returns:
        The model in LightGBM's text format; and a card: the numbers of ``trees`` and ``folds`` (at most one
        per group), and ``ndcg_at_10_of_folds``, the best mean over the folds.

    Raises:
        InsufficientDataError: all queries are in one group, so no fold can be left out for validation.
    """
    folds = _folds(dataset, parameters.seed)
    ndcg = _cross_validate(dataset, folds, parameters)["valid ndcg@10-mean"]
    trees = max(1, len(ndcg))
    card = {"trees": trees, "folds": len(folds), "ndcg_at_10_of_folds": round(max(ndcg), 4)}
    return train_trees(dataset, parameters, trees), card


def train_trees(dataset: RankingDataset, parameters: RankerParameters, trees: int) -> bytes:
    """Train the ranker with a given number of trees; the model in LightGBM's text format."""
    import lightgbm

    settings = _lightgbm_parameters(parameters)
    booster = lightgbm.train(settings, _lightgbm_dataset(dataset), num_boost_round=trees)
    return model_text(booster).encode()


def model_text(booster: Any) -> str:
    """Return trees in LightGBM's text format, without the number of threads, which does not affect them."""
    return _THREADS.sub("[num_threads: 1]", booster.model_to_string())


def cross_validated_ndcg(
    dataset: RankingDataset, parameters: RankerParameters
) -> NDArray[np.float64]:
    """Compute NDCG@10 of each query, ranked by trees that were trained on the other folds.

    Returns:
        float64, (queries,); NaN for a query without a relevant candidate.

    Raises:
        InsufficientDataError: all queries are in one group.
    """
    folds = _folds(dataset, parameters.seed)
    cv = _cross_validate(dataset, folds, parameters, keep_boosters=True)
    scores = np.empty(len(dataset.features))
    for booster, (_, rows) in zip(cv["cvbooster"].boosters, folds, strict=True):
        trees = cv["cvbooster"].best_iteration
        scores[rows] = booster.predict(dataset.features[rows], num_iteration=trees)
    ends = np.cumsum(dataset.sizes)
    grades = [
        dataset.grades[end - size : end] for size, end in zip(dataset.sizes, ends, strict=True)
    ]
    hits = np.zeros((len(grades), DEPTH), np.int8)
    for query, (size, end) in enumerate(zip(dataset.sizes, ends, strict=True)):
        order = np.argsort(-scores[end - size : end], kind="stable")[:DEPTH]
        hits[query, : len(order)] = grades[query][order]
    available = np.stack([np.bincount(part, minlength=len(GAINS)) for part in grades])
    return ndcg_at(hits, available, DEPTH)


def _cross_validate(
    dataset: RankingDataset,
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    parameters: RankerParameters,
    keep_boosters: bool = False,
) -> dict[str, Any]:
    import lightgbm

    if len(folds) < 2:
        raise InsufficientDataError(
            f"All {len(dataset.sizes):,} training queries of the ranker belong to one group of listings; "
            "expected at least two groups. Add listings, or increase the share of validation under "
            "`splits` in parameters_cleaning.yml."
        )
    results: dict[str, Any] = lightgbm.cv(
        _lightgbm_parameters(parameters),
        _lightgbm_dataset(dataset),
        num_boost_round=parameters.num_boost_round,
        folds=folds,
        callbacks=[lightgbm.early_stopping(parameters.early_stopping_rounds, verbose=False)],
        return_cvbooster=keep_boosters,
    )
    return results


def _lightgbm_parameters(parameters: RankerParameters) -> dict[str, Any]:
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


def _lightgbm_dataset(dataset: RankingDataset) -> Any:
    import lightgbm

    return lightgbm.Dataset(
        dataset.features,
        dataset.grades.astype(np.int32),
        group=dataset.sizes,
        weight=dataset.weights,
        feature_name=list(FEATURES),
        free_raw_data=False,
        params={"verbose": -1},
    )


def _folds(dataset: RankingDataset, seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    return split_groups(np.repeat(dataset.groups, dataset.sizes), seed)


def split_groups(
    groups: NDArray[np.str_], seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split rows into folds that share no group.

    Args:
        groups: str, (rows,), group of each row.
        seed: seed of the folds.

    Returns:
        The training and validation rows of each fold; at most one fold per group.
    """
    names, group = np.unique(groups, return_inverse=True)
    fold_of_group = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    fold = fold_of_group[group]
    return [
        (np.flatnonzero(fold != number), np.flatnonzero(fold == number))
        for number in range(min(FOLDS, len(names)))
    ]
