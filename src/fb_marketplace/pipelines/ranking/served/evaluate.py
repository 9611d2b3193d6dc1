"""Evaluation of the served search on the listings of the test split."""

import pandas as pd

from fb_marketplace.parameters.ranking import RankingEvaluationParameters, RelevanceParameters
from fb_marketplace.pipelines.ranking.evaluation_corpus import SearchEvaluationData
from fb_marketplace.pipelines.ranking.reworded_queries import reworded_queries
from fb_marketplace.pipelines.ranking.search_corpus import SearchCorpus
from fb_marketplace.pipelines.ranking.served.cases import Evaluation
from fb_marketplace.pipelines.ranking.served.precision import evaluate_precision
from fb_marketplace.pipelines.ranking.served.recall import (
    evaluate_paraphrases,
    evaluate_typos,
    has_long_word,
)
from fb_marketplace.pipelines.ranking.served.search import ServedSearch
from fb_marketplace.pipelines.ranking.synthetic_queries import make_queries, sample_queries
from fb_marketplace.pipelines.ranking.train_relevance import word_queries
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.search.engine import SearchEngine
from fb_marketplace_serving.search.ranking.ranker import Ranker
from fb_marketplace_serving.search.ranking.relevance import RelevanceModel


def evaluate_served(
    data: SearchEvaluationData,
    corpus: SearchCorpus,
    ranker: Ranker,
    model: FileRef | Skipped,
    parameters: RankingEvaluationParameters,
    relevance: RelevanceParameters,
) -> Evaluation:
    """Evaluate the search with corrections and the threshold, as users see it.

    Args:
        data: the listings.
        corpus: those of the test split.
        ranker: the served ranker.
        model: the served relevance model.
        parameters: parameters of the bootstrap, and number of typos.
        relevance: number of queries, and their seed.

    Returns:
        Metrics: ``relevance``, see :func:`evaluate_precision`, or ``not_measured`` with the reason;
        ``typos``, see :func:`evaluate_typos`; and ``paraphrases``, see :func:`evaluate_paraphrases`.
    """
    threshold = None if isinstance(model, Skipped) else RelevanceModel.from_bytes(model.read())
    served = ServedSearch(
        corpus,
        data.encoder,
        SearchEngine(corpus.indexes, ranker, data.labels, threshold),
        data.query_understanding(),
    )
    by_words = list(word_queries(data.products, data.splits, "test", relevance.seed))
    synthetic = make_queries(data.products, data.splits, data.duplicate_groups, "test")
    short = [query for query in synthetic if query.kind == "short"]
    reworded = [query for query in synthetic if query.kind == "paraphrase"]
    members = [(query.product_id, query.group) for query in short]
    reworded += reworded_queries(data.products, members)
    seed, max_queries = relevance.seed, relevance.max_test_queries
    evaluations = {
        "typos": evaluate_typos(
            served,
            sample_queries(filter(has_long_word, by_words + short), parameters.max_typos, seed),
            parameters,
        ),
        "paraphrases": evaluate_paraphrases(
            served, sample_queries(reworded, parameters.max_typos, seed), parameters
        ),
    }
    reason = {"not_measured": model.reason} if isinstance(model, Skipped) else {}
    if threshold:
        evaluations["relevance"] = evaluate_precision(
            served, sample_queries(by_words, max_queries, seed), threshold.threshold, parameters
        )
    return Evaluation(
        {"relevance": reason} | {name: part.metrics for name, part in evaluations.items()},
        pd.concat([part.cases for part in evaluations.values()], ignore_index=True),
    )
