"""The ranker: learned from clicks or from searches by rules, and measured on the test split's listings."""

from typing import Any, NamedTuple

import pandas as pd

from fb_marketplace.parameters.ranking import RankerParameters, RankingMeasureParameters
from fb_marketplace.parameters.text import WordParameters
from fb_marketplace.pipelines.ranking.click_training_data import taught_by_clicks
from fb_marketplace.pipelines.ranking.evaluation_corpus import Market
from fb_marketplace.pipelines.ranking.lambdamart import Lessons, lessons_of, train_trees
from fb_marketplace.pipelines.ranking.metrics import measure_searches, summarise
from fb_marketplace.pipelines.ranking.synthetic_queries import LEARNED
from fb_marketplace.pipelines.ranking.text_to_image_metrics import measure_pictured
from fb_marketplace.storage.file_handles import StoredFile
from fb_marketplace_serving.search.ranker import Ranker


class Trained(NamedTuple):
    """The trees in LightGBM's text format, and what is to be known of them."""

    ranker: bytes
    card: dict[str, Any]


class Measured(NamedTuple):
    """Each search of the test split by each method, and what that comes to."""

    searches: pd.DataFrame
    metrics: dict[str, Any]


def train_ranker(
    market: Market, words: WordParameters, feedback: pd.DataFrame, parameters: RankerParameters
) -> Trained:
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
    if clicked >= parameters.least_clicks:
        gallery = market.gallery_without("test", words)
        taught = taught_by_clicks(feedback, gallery, market.asker(), market.labels, parameters)
    by_clicks = taught is not None and taught.searches >= parameters.least_clicks
    lessons = taught.lessons if taught and by_clicks else _taught_by_rules(market, words)
    model, card = train_trees(lessons, parameters)
    told = {
        "learned_from": "feedback" if by_clicks else "rules",
        "clicked": clicked,
        "clicked_and_known": taught.searches if taught else None,
        "left_out": taught.left_out if taught else None,
        "searches": len(lessons.sizes),
        "candidates": len(lessons.features),
    }
    return Trained(model, told | card)


def _taught_by_rules(market: Market, words: WordParameters) -> Lessons:
    """Take the searches for the listings of the validation split, graded by rules."""
    searched = market.searches("validation", words)
    return lessons_of([each for each in searched if each.asked.kind in LEARNED])


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
