"""Training data of the ranker, from graded synthetic queries or from clicks.

Users examine higher positions more often, and therefore click them more often, regardless of relevance. A
click is weighted by the inverse of the probability that its position is examined, which removes this
position bias (Joachims, Swaminathan & Schnabel, 2017, "Unbiased learning-to-rank with biased feedback"). In
that paper each click has its own loss, weighted by the position of the clicked listing. Accordingly, each
click becomes a separate query here, and all rows of the query have the weight of the click. If each row had
the weight of its own position, the two listings of a pair would have different weights, and the bias would
return.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.pipelines.ranking.judged_candidates import JudgedCandidates
from fb_marketplace.pipelines.ranking.search_corpus import QueryEncoder, SearchCorpus
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace_serving.search.candidates import CandidateSet, collect_candidates
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES, compute_features

MAX_CANDIDATES: Final = 100
"""Maximum number of training candidates per query. Hardly any candidate further down is relevant."""

AGE: Final = FEATURES.index("age_days")

CLICKED: Final = 2
"""Grade of a clicked listing. The unclicked listings on the page have grade 0."""


class RankingDataset(NamedTuple):
    """Graded queries.

    Attributes:
        features: float64, (candidates, features).
        grades: int8, (candidates,).
        sizes: int64, (queries,), number of candidates of each query.
        groups: str, (queries,), group of each query; folds share no group.
        weights: float64, (candidates,); None for equal weights.
    """

    features: NDArray[np.float64]
    grades: NDArray[np.int8]
    sizes: NDArray[np.int64]
    groups: NDArray[np.str_]
    weights: NDArray[np.float64] | None = None


class ClickDataset(NamedTuple):
    """Training data from clicks.

    Attributes:
        dataset: one query per click. Its group is the query text. If all texts are the same, it is the
            search, since a single group cannot be split into folds.
        searches: number of clicked searches in the dataset.
        left_out: number of unused impressions of clicked searches: the listing is in the test split,
            removed, or no longer a candidate, or the search has no usable click.
    """

    dataset: RankingDataset
    searches: int
    left_out: int


class _Page(NamedTuple):
    """The usable listings of a search: candidate rows, best first, with positions and clicks."""

    search_id: str
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]
    clicked: NDArray[np.bool_]


def ranking_dataset(judged: list[JudgedCandidates]) -> RankingDataset:
    """Build training data from graded queries, with the best candidates by fused score.

    The age of the listings is set to missing: synthetic queries do not prefer new listings, so trees would
    only learn on which days the listings of a category were exported. Only clicks show whether buyers
    prefer new listings.
    """
    used = [query for query in judged if len(query.candidates)]
    rows = [_by_fused_rank(query.candidates)[:MAX_CANDIDATES] for query in used]
    features = np.concatenate([query.features[top] for query, top in zip(used, rows, strict=True)])
    features[:, AGE] = np.nan
    return RankingDataset(
        features,
        np.concatenate([query.grades[top] for query, top in zip(used, rows, strict=True)]),
        np.array([len(top) for top in rows], np.int64),
        np.array([query.query.group for query in used]),
    )


def click_dataset(
    feedback: pd.DataFrame,
    corpus: SearchCorpus,
    encoder: QueryEncoder,
    labels: tuple[str, ...],
    parameters: RankerParameters,
) -> ClickDataset:
    """Build training data from clicks.

    Each query is run again on the current listings, to compute current features.

    Args:
        feedback: see :class:`fb_marketplace.schemas.retrieval.Feedback`.
        corpus: the listings to train on.
        encoder: encoder of the queries.
        labels: category labels of photos.
        parameters: parameters of the position bias.
    """
    clicked_ids = feedback.loc[feedback["clicked"], "search_id"]
    impressions = feedback[feedback["search_id"].isin(set(clicked_ids))]
    store = corpus.indexes.listings
    features, grades, sizes, groups, weights = [], [], [], [], []
    group_by_words = len(impressions["words"].unique()) > 1
    searches = used = 0
    queries = impressions.groupby("words", sort=True)
    with Progress("clicked queries searched", queries.ngroups) as progress:
        for words, rows in queries:
            query = encoder.encode(SearchQuery("clicked", "", "", str(words), None, frozenset()))
            candidates = collect_candidates(corpus.indexes, query)
            query_features = compute_features(candidates, query, store, labels)
            best_first = _by_fused_rank(candidates)
            names = [store.product_ids[row] for row in candidates.positions[best_first]]
            for page in _pages(rows, dict(zip(names, best_first.tolist(), strict=True))):
                searches += 1
                used += len(page.rows)
                for click in np.flatnonzero(page.clicked):
                    chosen = ~page.clicked
                    chosen[click] = True
                    features.append(query_features[page.rows[chosen]])
                    grades.append(np.where(page.clicked[chosen], CLICKED, 0).astype(np.int8))
                    sizes.append(len(features[-1]))
                    groups.append(str(words) if group_by_words else page.search_id)
                    weights.append(propensity_weight(int(page.positions[click]), parameters))
            progress.advance(1)
    dataset = RankingDataset(
        np.concatenate(features) if features else np.empty((0, len(FEATURES))),
        np.concatenate(grades) if grades else np.empty(0, np.int8),
        np.array(sizes, np.int64),
        np.array(groups, np.str_),
        np.repeat(np.array(weights, np.float64), sizes),
    )
    return ClickDataset(dataset, searches, len(impressions) - used)


def propensity_weight(position: int, parameters: RankerParameters) -> float:
    """Return the weight of a click: the inverse probability that its position is examined.

    Args:
        position: from 1.
        parameters: the exponent of the position bias, and the maximum weight.
    """
    return float(min(1 / exposure(position, parameters), parameters.max_click_weight))


def exposure(position: int, parameters: RankerParameters) -> float:
    """Return the probability that a position, from 1, is examined."""
    return float(position**-parameters.position_bias_exponent)


def _by_fused_rank(candidates: CandidateSet) -> NDArray[np.int64]:
    """Return the candidate rows by fused score, best first, ties by position: int64, (candidates,)."""
    return np.lexsort((candidates.positions, -candidates.fused))


def _pages(impressions: pd.DataFrame, row_of: dict[str, int]) -> Iterator[_Page]:
    """Yield the searches of a query that have both a clicked and an unclicked candidate.

    Args:
        impressions: impressions of the query.
        row_of: candidate row by listing, best first.
    """
    rank_of = {name: rank for rank, name in enumerate(row_of)}
    usable = impressions[impressions["product_id"].isin(row_of.keys())]
    for search_id, page in usable.groupby("search_id", sort=True):
        ranked = page.iloc[np.argsort([rank_of[name] for name in page["product_id"]])]
        clicked = ranked["clicked"].to_numpy(np.bool_)
        if clicked.any() and not clicked.all():
            rows = np.array([row_of[name] for name in ranked["product_id"]], np.int64)
            positions = ranked["position"].to_numpy(np.int64)
            yield _Page(str(search_id), rows, positions, clicked)
