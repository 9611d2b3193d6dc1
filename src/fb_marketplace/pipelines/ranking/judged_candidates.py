"""Searches put to a gallery: what each found, described and graded."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.relevance import Grades
from fb_marketplace.observability.progress import Progress
from fb_marketplace.pipelines.ranking.search_corpus import QueryEncoder, SearchCorpus
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace_serving.search.candidates import CandidateSet, collect_candidates
from fb_marketplace_serving.search.ranking_features import compute_features


class JudgedCandidates(NamedTuple):
    """What one search found.

    Attributes:
        asked: the search.
        pool: the listings that were found.
        features: float64, (candidates, features).
        grades: int8, (candidates,).
        families: int32, (candidates,), which are folded into one hit.
        available: int64, (4,), how many families of each grade there were to find.
    """

    asked: SearchQuery
    pool: CandidateSet
    features: NDArray[np.float64]
    grades: Grades
    families: NDArray[np.int32]
    available: NDArray[np.int64]


def judge_candidates(
    gallery: SearchCorpus, asker: QueryEncoder, searches: list[SearchQuery], labels: tuple[str, ...]
) -> list[JudgedCandidates]:
    """Put searches to a gallery.

    Args:
        gallery: the listings.
        asker: puts them.
        searches: what is asked.
        labels: the classes of photos.
    """
    catalogue = gallery.searched.listings
    family = catalogue.features.family
    found = []
    with Progress("searches asked", len(searches)) as progress:
        for asked in searches:
            query = asker.query(asked)
            rows = gallery.rows_without(asked.hidden)
            pool = collect_candidates(gallery.searched, query, row_mask=rows)
            grades = gallery.grades(asked)
            best = np.zeros(int(family.max()) + 1, np.int8)
            np.maximum.at(best, family, grades)
            there = np.unique(family)
            found.append(
                JudgedCandidates(
                    asked,
                    pool,
                    # A photo is asked of listings that have another: counted, it would give them away.
                    compute_features(pool, query, catalogue, labels, row_mask=rows),
                    best[family[pool.positions]],
                    family[pool.positions],
                    np.bincount(best[there], minlength=4),
                )
            )
            progress.advance(1)
    return found


def first_grades(
    scores: NDArray[np.float64],
    found: JudgedCandidates,
    depth: int,
    of: NDArray[np.bool_] | None = None,
) -> Grades:
    """Give the grades of the first hits, one a family: int8, (depth,), 0 where there are no more.

    Args:
        scores: float64, (candidates,), the highest first; of equals the lower position.
        found: the candidates.
        depth: how many hits.
        of: bool, (candidates,), those that count; all of them without it.
    """
    order = np.lexsort((found.pool.positions, -scores))
    if of is not None:
        order = order[of[order]]
    _, first = np.unique(found.families[order], return_index=True)
    hits = found.grades[order[np.sort(first)][:depth]]
    return np.pad(hits, (0, depth - len(hits)))
