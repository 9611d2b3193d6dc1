"""Training of the ranker on clicks or synthetic queries, and its evaluation on the test split."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.relevance import SAME_PATH
from fb_marketplace.parameters.ranking import (
    RankerParameters,
    RankingEvaluationParameters,
    RelevanceParameters,
)
from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace.pipelines.ranking.click_log import evaluation_mask
from fb_marketplace.pipelines.ranking.composed_queries import COMPOSED
from fb_marketplace.pipelines.ranking.evaluation_corpus import SearchEvaluationData
from fb_marketplace.pipelines.ranking.judged_candidates import JudgedCandidates, judge_candidates
from fb_marketplace.pipelines.ranking.lambdamart import train_lambdamart, train_trees
from fb_marketplace.pipelines.ranking.metrics import (
    Alternative,
    evaluate_queries,
    summarize_queries,
)
from fb_marketplace.pipelines.ranking.search_corpus import SearchCorpus
from fb_marketplace.pipelines.ranking.served.evaluate import evaluate_served
from fb_marketplace.pipelines.ranking.synthetic_queries import TRAINING_KINDS
from fb_marketplace.pipelines.ranking.text_to_image_metrics import evaluate_text_to_image
from fb_marketplace.pipelines.ranking.training_data import (
    MAX_CANDIDATES,
    RankingDataset,
    click_dataset,
    ranking_dataset,
)
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.search.candidates import QueryVectors
from fb_marketplace_serving.search.ranking.ranker import Ranker
from fb_marketplace_serving.search.ranking.ranking_features import COMPOSED_FEATURES, FEATURES


class TrainedRanker(NamedTuple):
    """A trained ranker.

    Attributes:
        ranker: the trees in LightGBM's text format.
        ranker_without_composed: for comparison, trees that were trained without composed queries and the
            features for them. The same as the ranker if it was trained on clicks.
        card: describes the training.
    """

    ranker: bytes
    ranker_without_composed: bytes
    card: dict[str, Any]


class TrainingData(NamedTuple):
    """Data to train on.

    Attributes:
        dataset: graded queries.
        without_composed: the same without composed queries and the features for them; None for clicks.
        card: describes the dataset.
    """

    dataset: RankingDataset
    without_composed: RankingDataset | None
    card: dict[str, Any]


class RankingResults(NamedTuple):
    """Metrics of each test query by each method, and their summary."""

    queries: pd.DataFrame
    metrics: dict[str, Any]


def train_ranker(
    ranking_corpus: SearchEvaluationData,
    bm25: BM25Parameters,
    feedback: pd.DataFrame,
    parameters: RankerParameters,
    click_level: int = 0,
) -> TrainedRanker:
    """Train the ranker on clicks, or on synthetic queries if there are too few clicks.

    Synthetic queries are made for the listings of the validation split, with and without the listing that
    they look for. Clicks are used if they are on listings outside the test split, and their search is not
    for evaluation, see :func:`evaluation_mask`.

    Args:
        ranking_corpus: the listings.
        bm25: parameters of BM25.
        feedback: impressions and clicks; may be empty.
        parameters: parameters of the trees, and of the use of clicks.
        click_level: see :func:`count_clicks`.

    Returns:
        The models, and a card. ``learned_from`` is ``feedback`` or ``rules`` (synthetic queries).
        ``clicked`` counts these searches with a click, ``clicked_and_known`` those that can be used, and
        ``left_out`` unused listings on their pages (both None if ``clicked`` is below ``min_clicks``).
        ``searches`` and ``candidates`` count the training data. Further keys are those of
        :func:`train_lambdamart`.
    """
    data = training_data(ranking_corpus, bm25, feedback, parameters)
    model, training = train_lambdamart(data.dataset, parameters)
    without_composed = model
    if data.without_composed is not None:
        without_composed = train_trees(data.without_composed, parameters, training["trees"])
    card = data.card | training | {"click_level": click_level}
    return TrainedRanker(model, without_composed, card)


def training_data(
    ranking_corpus: SearchEvaluationData,
    bm25: BM25Parameters,
    feedback: pd.DataFrame,
    parameters: RankerParameters,
) -> TrainingData:
    """Return the queries to train on, see :func:`train_ranker`."""
    feedback = feedback[~evaluation_mask(feedback)]
    clicked = feedback.loc[feedback["clicked"], "search_id"].nunique()
    clicks = None
    if clicked >= parameters.min_clicks:
        corpus = ranking_corpus.corpus_without("test", bm25)
        encoder = ranking_corpus.query_encoder()
        clicks = click_dataset(feedback, corpus, encoder, ranking_corpus.labels, parameters)
    by_clicks = clicks is not None and clicks.searches >= parameters.min_clicks
    without_composed = None
    if clicks and by_clicks:
        dataset = clicks.dataset
    else:
        judged = ranking_corpus.judge_queries(
            "validation", bm25, parameters.max_queries, parameters.seed, MAX_CANDIDATES
        )
        # Only with sold listings does the ranker learn how far to trust the category of the first hit.
        known_item = [
            result for result in judged.all + judged.sold if result.query.kind in TRAINING_KINDS
        ]
        dataset = ranking_dataset(known_item + _composed(judged.all))
        without_composed = ranking_dataset(known_item)
        without_composed.features[:, [FEATURES.index(name) for name in COMPOSED_FEATURES]] = np.nan
    card = {
        "learned_from": "feedback" if by_clicks else "rules",
        "clicked": clicked,
        "clicked_and_known": clicks.searches if clicks else None,
        "left_out": clicks.left_out if clicks else None,
        "searches": len(dataset.sizes),
        "candidates": len(dataset.features),
    }
    return TrainingData(dataset, without_composed, card)


def _composed(judged: list[JudgedCandidates]) -> list[JudgedCandidates]:
    """Return the composed queries that have a relevant listing."""
    return [
        result
        for result in judged
        if result.query.kind == COMPOSED and result.available[SAME_PATH:].any()
    ]


def _evaluate_composed(
    judged: list[JudgedCandidates],
    ranker: Ranker,
    ranker_without_composed: Ranker,
    corpus: SearchCorpus,
    data: SearchEvaluationData,
) -> pd.DataFrame:
    """Evaluate composed queries, and the ranker on their photos alone and on their words alone."""
    queries, encoder = [result.query for result in judged], data.query_encoder()
    photos, words = (
        judge_candidates(corpus, encoder, queries, data.labels, part)
        for part in (QueryVectors.without_words, QueryVectors.without_photo)
    )
    return evaluate_queries(
        judged,
        ranker,
        {
            "without_composed": Alternative(judged, ranker_without_composed),
            "photo_only": Alternative(photos, ranker),
            "words_only": Alternative(words, ranker),
        },
    )


def evaluate_ranking(
    ranking_corpus: SearchEvaluationData,
    ranker: FileRef,
    ranker_without_composed: FileRef,
    relevance_model: FileRef | Skipped,
    bm25: BM25Parameters,
    parameters: RankingEvaluationParameters,
    relevance: RelevanceParameters,
) -> RankingResults:
    """Evaluate the search on the listings of the test split, by kind of query.

    Args:
        ranking_corpus: the listings.
        ranker: the served ranker.
        ranker_without_composed: a ranker to compare it with, see :class:`TrainedRanker`.
        relevance_model: the model that predicts which listings are relevant.
        bm25: parameters of BM25.
        parameters: number of queries, and parameters of the bootstrap.
        relevance: number of searches by words.

    Returns:
        Metrics of each query, see :func:`evaluate_queries`; and their summary, see
        :func:`summarize_queries`, with ``sold``, the same if the listing that a query looks for is hidden;
        ``composed``, the same for composed queries (empty without any), and
        ``text_to_image``, see :func:`evaluate_text_to_image`. Cases and metrics of the served search are
        added, see :func:`evaluate_served`.
    """
    judged = ranking_corpus.judge_queries("test", bm25, parameters.max_queries, parameters.seed)
    model = Ranker.from_bytes(ranker.read())
    known_item = [result for result in judged.all if result.query.kind != COMPOSED]
    queries = evaluate_queries(known_item, model)
    sold = evaluate_queries(judged.sold, model)
    titles = [
        (query.product_id, query.group, query.words)
        for query in (candidates.query for candidates in judged.all)
        if query.kind == "title"
    ]
    corpus = ranking_corpus.corpus("test", bm25)
    served = evaluate_served(ranking_corpus, corpus, model, relevance_model, parameters, relevance)
    composed = _evaluate_composed(
        _composed(judged.all),
        model,
        Ranker.from_bytes(ranker_without_composed.read()),
        corpus,
        ranking_corpus,
    )
    text_to_image = evaluate_text_to_image(corpus, ranking_corpus.encoder, titles, parameters)
    return RankingResults(
        pd.concat([queries, composed, served.cases], ignore_index=True),
        {
            "listings": len(corpus.indexes.listings),
            "text_to_image": text_to_image,
            "searches": summarize_queries(queries, parameters),
            "sold": summarize_queries(sold, parameters) if len(sold) else {},
            COMPOSED: summarize_queries(composed, parameters).get(COMPOSED, {})
            if len(composed)
            else {},
            **served.metrics,
        },
    )
