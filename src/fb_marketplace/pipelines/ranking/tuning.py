"""Objective of tuning: the parameters of the ranker."""

from typing import Final

import numpy as np
import pandas as pd

from fb_marketplace.ml.objective import Objective, arrays_digest
from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace.pipelines.ranking.evaluation_corpus import SearchEvaluationData
from fb_marketplace.pipelines.ranking.lambdamart import cross_validated_ndcg
from fb_marketplace.pipelines.ranking.train_ranker import training_data
from fb_marketplace.storage.fingerprints import make_key, stage_digest

REVISION: Final = 1


def prepare_ranker_objective(
    ranking_corpus: SearchEvaluationData,
    bm25: BM25Parameters,
    feedback: pd.DataFrame,
    parameters: RankerParameters,
) -> Objective:
    """Return NDCG@10 of the training queries in cross-validation, as a function of ``ranker``.

    The queries are those that the ranker is trained on: for validation listings, or clicks. Queries without
    a relevant candidate are left out.
    """
    dataset = training_data(ranking_corpus, bm25, feedback, parameters).dataset
    starts = np.cumsum(dataset.sizes) - dataset.sizes
    is_relevant = np.maximum.reduceat(dataset.grades, starts) > 0
    return Objective(
        "ranker",
        "ndcg_at_10",
        parameters,
        dataset.groups[is_relevant],
        make_key(
            stage_digest("tune_ranker", REVISION, None, ["lightgbm"]),
            arrays_digest(*(array for array in dataset if array is not None)),
        ),
        lambda values: cross_validated_ndcg(dataset, values)[is_relevant],
    )
