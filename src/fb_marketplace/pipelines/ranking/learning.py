"""The ranker: learned on the searches for validation's listings, measured on those for the test split's."""

from typing import Any, NamedTuple

import pandas as pd

from fb_marketplace.pipelines.ranking.market import Market
from fb_marketplace.pipelines.ranking.pictured import measure_pictured
from fb_marketplace.pipelines.ranking.ranker_training import lessons_of, train_trees
from fb_marketplace.pipelines.ranking.ranking_metrics import measure_searches, summarise
from fb_marketplace.pipelines.ranking.search_queries import LEARNED
from fb_marketplace.ranking_parameters import (
    RankerParameters,
    RankingMeasureParameters,
    WordParameters,
)
from fb_marketplace.stored_file import StoredFile
from fb_marketplace_serving.ranker import Ranker


class Trained(NamedTuple):
    """The trees in LightGBM's text format, and what is to be known of them."""

    ranker: bytes
    card: dict[str, Any]


class Measured(NamedTuple):
    """Each search of the test split by each method, and what that comes to."""

    searches: pd.DataFrame
    metrics: dict[str, Any]


def train_ranker(market: Market, words: WordParameters, parameters: RankerParameters) -> Trained:
    """Train the ranker on the searches for the listings of the validation split.

    Args:
        market: the listings.
        words: of the word index.
        parameters: of the trees.

    Returns:
        The model; and the numbers of ``searches`` and ``candidates``, of ``trees``, what folds gave, and
        how much each feature gained.
    """
    searched = [each for each in market.searches("validation", words) if each.asked.kind in LEARNED]
    lessons = lessons_of(searched)
    model, card = train_trees(lessons, parameters)
    return Trained(
        model,
        {"searches": len(lessons.sizes), "candidates": len(lessons.features)} | card,
    )


def measure_ranking(
    market: Market,
    ranker: StoredFile,
    words: WordParameters,
    parameters: RankingMeasureParameters,
) -> Measured:
    """Measure the search on the listings of the test split, by kind of search.

    Args:
        market: the listings.
        ranker: as it is served.
        words: of the word index.
        parameters: of the bootstrap.

    Returns:
        ``ranking_searches``, see :func:`measure_searches`; and ``ranking_metrics``, see :func:`summarise`,
        with ``words_to_pictures``, see :func:`measure_pictured`.
    """
    opened = Ranker.from_bytes(ranker.read())
    searched = market.searches("test", words)
    measured = measure_searches(searched, opened)
    titles = [
        (each.asked.product_id, each.asked.group, each.asked.words)
        for each in searched
        if each.asked.kind == "title"
    ]
    gallery = market.gallery("test", words)
    pictured = measure_pictured(gallery, market.encoder, titles, parameters)
    listings = len(gallery.searched.catalogue)
    return Measured(
        measured,
        {"listings": listings, "words_to_pictures": pictured}
        | {"searches": summarise(measured, parameters)},
    )
