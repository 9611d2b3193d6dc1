"""What clicks teach a ranker: that what was clicked is worth more than what was shown beside it and not.

What stands further up is looked at more, and so clicked more, whatever it is worth. A click is weighted by
the inverse of how probable it is that its place is looked at, and then teaches without that bias (Joachims,
Swaminathan & Schnabel, 2017, "Unbiased learning-to-rank with biased feedback"). There each click has a loss
of its own, of the place of what was clicked; so here each is a lesson of its own, all of whose rows have
its weight. Were the rows of a page each weighted by their own place, the two sides of a pair would be
pushed by different weights, and which of them is pushed up would hang on the biased clicks as before.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.pipelines.ranking.lambdamart import RankingDataset
from fb_marketplace.pipelines.ranking.search_corpus import QueryEncoder, SearchCorpus
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace_serving.search.candidates import collect_candidates
from fb_marketplace_serving.search.ranking_features import FEATURES, compute_features

CLICKED: Final = 2
"""The grade of what was clicked: what else was shown has 0."""


class ClickDataset(NamedTuple):
    """Lessons of clicks.

    Attributes:
        lessons: one a click; their groups are the words, so that folds share no query. Where all asked the
            same, it is the page: one group cannot be cut into folds.
        searches: clicked searches that they are of.
        left_out: listings of clicked searches that were shown and are not learned from: they are of the
            test split, gone, or not among what the query finds now.
    """

    lessons: RankingDataset
    searches: int
    left_out: int


class _Page(NamedTuple):
    """What a search showed that can be learned from: places in the pool, best first, and clicks."""

    search_id: str
    places: NDArray[np.int64]
    positions: NDArray[np.int64]
    clicked: NDArray[np.bool_]


def click_dataset(
    feedback: pd.DataFrame,
    gallery: SearchCorpus,
    asker: QueryEncoder,
    labels: tuple[str, ...],
    parameters: RankerParameters,
) -> ClickDataset:
    """Make lessons of clicks.

    Each query is asked again, of the listings there are now; of what was shown, what it finds is described
    as it is now.

    Args:
        feedback: see :class:`fb_marketplace.schemas.retrieval.Feedback`.
        gallery: the listings that may be learned from.
        asker: puts the queries.
        labels: the classes of photos.
        parameters: how places are looked at.
    """
    clicked_on = feedback.loc[feedback["clicked"], "search_id"]
    shown = feedback[feedback["search_id"].isin(set(clicked_on))]
    catalogue = gallery.searched.listings
    features, grades, sizes, groups, weights = [], [], [], [], []
    many = len(shown["words"].unique()) > 1
    searches = kept = 0
    queries = shown.groupby("words", sort=True)
    with Progress("clicked queries asked", queries.ngroups) as progress:
        for words, rows in queries:
            query = asker.query(SearchQuery("clicked", "", "", str(words), None, frozenset()))
            pool = collect_candidates(gallery.searched, query)
            described = compute_features(pool, query, catalogue, labels)
            best_first = np.lexsort((pool.positions, -pool.fused))
            names = [catalogue.product_ids[at] for at in pool.positions[best_first]]
            for page in _pages(rows, dict(zip(names, best_first.tolist(), strict=True))):
                searches += 1
                kept += len(page.places)
                for click in np.flatnonzero(page.clicked):
                    chosen = ~page.clicked
                    chosen[click] = True
                    places = page.places[chosen]
                    features.append(described[places])
                    grades.append(np.where(page.clicked[chosen], CLICKED, 0).astype(np.int8))
                    sizes.append(len(places))
                    groups.append(str(words) if many else page.search_id)
                    weights.append(propensity_weight(int(page.positions[click]), parameters))
            progress.advance(1)
    lessons = RankingDataset(
        np.concatenate(features) if features else np.empty((0, len(FEATURES))),
        np.concatenate(grades) if grades else np.empty(0, np.int8),
        np.array(sizes, np.int64),
        np.array(groups, np.str_),
        np.repeat(np.array(weights, np.float64), sizes),
    )
    return ClickDataset(lessons, searches, len(shown) - kept)


def propensity_weight(position: int, parameters: RankerParameters) -> float:
    """Say how many clicks one at a place counts for: the inverse of how probably it is looked at.

    Args:
        position: from 1.
        parameters: how quickly that falls, and how much a click counts at most.
    """
    return float(min(position**parameters.position_bias_exponent, parameters.max_click_weight))


def _pages(rows: pd.DataFrame, place_of: dict[str, int]) -> Iterator[_Page]:
    """Give the pages of a query on which something was clicked, and something not, that is there.

    Args:
        rows: what was shown.
        place_of: where in the pool each listing is, the best first.
    """
    order = {name: number for number, name in enumerate(place_of)}
    there = rows[rows["product_id"].isin(place_of.keys())]
    for search_id, page in there.groupby("search_id", sort=True):
        sorted_page = page.iloc[np.argsort([order[name] for name in page["product_id"]])]
        clicked = sorted_page["clicked"].to_numpy(np.bool_)
        if clicked.any() and not clicked.all():
            places = np.array([place_of[name] for name in sorted_page["product_id"]], np.int64)
            positions = sorted_page["position"].to_numpy(np.int64)
            yield _Page(str(search_id), places, positions, clicked)
