"""Compare features and training queries of the ranker in cross-validation on the validation split.

    FB_LAKE=<lake> python benchmarks/long/ranking.py

Reads the outputs of `kedro run` in the lake of FB_LAKE, and changes nothing. Each query is ranked twice by
trees that were trained on other groups: with the listing that it looks for, and as if it were sold. Takes
two minutes of CPU time for 500 validation listings.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.retrieval_metrics import DEPTH, ndcg_at
from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.pipelines.ranking.composed_queries import COMPOSED
from fb_marketplace.pipelines.ranking.judged_candidates import JudgedCandidates, first_grades
from fb_marketplace.pipelines.ranking.lambdamart import split_groups, train_trees
from fb_marketplace.pipelines.ranking.synthetic_queries import TRAINING_KINDS
from fb_marketplace.pipelines.ranking.training_data import ranking_dataset
from fb_marketplace.skipping import Skipped
from fb_marketplace_serving.search.candidates import SOURCES
from fb_marketplace_serving.search.ranking.ranker import Ranker
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES

PROJECT = Path(__file__).parents[2]
TREES = 120
VOTES = [
    FEATURES.index(f"{source}_voted_{part}") for source in SOURCES for part in ("category", "path")
]
VARIANTS: dict[str, tuple[list[int], bool]] = {
    "without votes of single sources, trained on listings on sale": (VOTES, False),
    "without votes of single sources": (VOTES, True),
    "ranker": ([], True),
}
"""Columns to leave out, and whether to train on sold listings."""


def main() -> None:
    """Print NDCG@10 of each variant, and its paired gain over the first."""
    if "FB_LAKE" not in os.environ:
        raise SystemExit("Set FB_LAKE to a lake in which `kedro run` has run.")
    bootstrap_project(PROJECT)
    (node,) = pipelines["ranking"].only_nodes("ranking.load_evaluation_corpus").nodes
    with KedroSession.create(PROJECT) as session:
        catalog: Any = session.load_context().catalog
        corpus = node.func(*(load(catalog, name) for name in node.inputs))
        bm25, ranker = (catalog.load(f"params:{name}") for name in ("bm25", "ranker"))
    on_sale, sold = corpus.judge_queries("validation", bm25, ranker.max_queries, ranker.seed)
    is_sold = np.repeat([False, True], [len(on_sale), len(sold)])
    judged = [*on_sale, *sold]
    groups = np.array([item.query.group for item in judged])
    is_item = np.array([item.query.kind != COMPOSED for item in judged])
    first = None
    for name, (columns, with_sold) in VARIANTS.items():
        values = cross_validate(judged, groups, is_sold & (not with_sold), columns, ranker)
        first = values if first is None else first
        for label, rows in (("on sale", is_item & ~is_sold), ("sold", is_sold)):
            gain = mean_by_group(values[rows] - first[rows], groups[rows], 1000, 0.95, 0).to_dict()
            print(f"{name}, {label}: {values[rows].mean():.4f}, gain {gain}", flush=True)


def load(catalog: Any, name: str) -> Any:
    """Load a dataset; :class:`Skipped` if the last run did not write it."""
    try:
        return catalog.load(name)
    except DatasetError as error:
        return Skipped(str(error))


def cross_validate(
    judged: list[JudgedCandidates],
    groups: np.ndarray[tuple[int], np.dtype[np.str_]],
    is_left_out: np.ndarray[tuple[int], np.dtype[np.bool_]],
    columns: list[int],
    ranker: RankerParameters,
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return NDCG@10 of each query, ranked by trees that were trained on other groups.

    Args:
        judged: the queries.
        groups: str, (queries,).
        is_left_out: bool, (queries,), queries that are not trained on.
        columns: features that are not used.
        ranker: parameters of the trees.
    """
    values = np.full(len(judged), np.nan)
    for training, validation in split_groups(groups, ranker.seed):
        chosen = [judged[row] for row in training if not is_left_out[row]]
        dataset = ranking_dataset(
            [item for item in chosen if item.query.kind in (*TRAINING_KINDS, COMPOSED)]
        )
        dataset.features[:, columns] = np.nan
        model = Ranker.from_bytes(train_trees(dataset, ranker, TREES))
        for row in validation:
            features = judged[row].features.copy()
            features[:, columns] = np.nan
            hits = first_grades(model.scores(features), judged[row], DEPTH)[np.newaxis]
            values[row] = ndcg_at(hits, judged[row].available[np.newaxis], DEPTH)[0]
    return values


if __name__ == "__main__":
    main()
