"""The ranker: learned from clicks or from searches by rules, and measured on the test split's listings."""

from typing import Any, NamedTuple

import pandas as pd

from fb_marketplace.parameters.ranking import RankerParameters, RankingEvaluationParameters
from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace.pipelines.ranking.click_training_data import click_dataset
from fb_marketplace.pipelines.ranking.evaluation_corpus import SearchEvaluationData
from fb_marketplace.pipelines.ranking.lambdamart import (
    RankingDataset,
    ranking_dataset,
    train_lambdamart,
)
from fb_marketplace.pipelines.ranking.metrics import evaluate_queries, summarize_queries
from fb_marketplace.pipelines.ranking.synthetic_queries import TRAINING_KINDS
from fb_marketplace.pipelines.ranking.text_to_image_metrics import evaluate_text_to_image
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.search.ranker import Ranker


class TrainedRanker(NamedTuple):
    """The trees in LightGBM's text format, and what is to be known of them."""

    ranker: bytes
    card: dict[str, Any]


class RankingResults(NamedTuple):
    """Each search of the test split by each method, and what that comes to."""

    searches: pd.DataFrame
    metrics: dict[str, Any]


def train_ranker(
    market: SearchEvaluationData,
    words: BM25Parameters,
    feedback: pd.DataFrame,
    parameters: RankerParameters,
) -> TrainedRanker:
    """Train the ranker on what was clicked, or, where that is too little, on searches by rules.

    Those are for the listings of the validation split; clicks are of all but the test split's.

    Args:
        market: the listings.
        words: of the word index.
        feedback: what was shown and clicked; there may be none.
        parameters: of the trees, and of clicks.

    Returns:
        The model; and what it was ``learned_from``, ``feedback`` or ``rules``; how many searches were
        ``clicked``, how many of them were ``clicked_and_known`` (None where there were too few to look),
        and how many listings that they showed were ``left_out``; the numbers of ``searches`` and
        ``candidates`` learned from, of ``trees``, and what folds gave.
    """
    clicked = feedback.loc[feedback["clicked"], "search_id"].nunique()
    taught = None
    if clicked >= parameters.min_clicks:
        gallery = market.gallery_without("test", words)
        taught = click_dataset(feedback, gallery, market.asker(), market.labels, parameters)
    by_clicks = taught is not None and taught.searches >= parameters.min_clicks
    lessons = taught.lessons if taught and by_clicks else _judgment_dataset(market, words)
    model, card = train_lambdamart(lessons, parameters)
    told = {
        "learned_from": "feedback" if by_clicks else "rules",
        "clicked": clicked,
        "clicked_and_known": taught.searches if taught else None,
        "left_out": taught.left_out if taught else None,
        "searches": len(lessons.sizes),
        "candidates": len(lessons.features),
    }
    return TrainedRanker(model, told | card)


def _judgment_dataset(market: SearchEvaluationData, words: BM25Parameters) -> RankingDataset:
    """Take the searches for the listings of the validation split, graded by rules."""
    searched = market.searches("validation", words)
    return ranking_dataset([each for each in searched if each.asked.kind in TRAINING_KINDS])


def evaluate_ranking(
    market: SearchEvaluationData,
    ranker: FileRef,
    words: BM25Parameters,
    parameters: RankingEvaluationParameters,
) -> RankingResults:
    """Measure the search on the listings of the test split, by kind of search.

    Args:
        market: the listings.
        ranker: as it is served.
        words: of the word index.
        parameters: of the bootstrap.

    Returns:
        ``ranking_query_metrics``, see :func:`measure_searches`; ``ranking_metrics``, see :func:`summarise`,
        with ``words_to_pictures``, see :func:`measure_pictured`.
    """
    opened = Ranker.from_bytes(ranker.read())
    searched = market.searches("test", words)
    measured = evaluate_queries(searched, opened)
    titles = [
        (each.asked.product_id, each.asked.group, each.asked.words)
        for each in searched
        if each.asked.kind == "title"
    ]
    gallery = market.gallery("test", words)
    pictured = evaluate_text_to_image(gallery, market.encoder, titles, parameters)
    listings = len(gallery.searched.listings)
    return RankingResults(
        measured,
        {"listings": listings, "words_to_pictures": pictured}
        | {"searches": summarize_queries(measured, parameters)},
    )
