"""Searches put to a gallery: what each found, described and graded."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.relevance import Grades
from fb_marketplace.observability.progress import Progress
from fb_marketplace.pipelines.ranking.search_corpus import Asker, SearchGallery
from fb_marketplace.pipelines.ranking.synthetic_queries import Asked
from fb_marketplace_serving.search.candidates import Pool, gather
from fb_marketplace_serving.search.ranking_features import features_of


class Candidates(NamedTuple):
    """What one search found.

    Attributes:
        asked: the search.
        pool: the listings that were found.
        features: float64, (candidates, features).
        grades: int8, (candidates,).
        families: int32, (candidates,), which are folded into one hit.
        available: int64, (4,), how many families of each grade there were to find.
    """

    asked: Asked
    pool: Pool
    features: NDArray[np.float64]
    grades: Grades
    families: NDArray[np.int32]
    available: NDArray[np.int64]


def candidates_of(
    gallery: SearchGallery, asker: Asker, searches: list[Asked], labels: tuple[str, ...]
) -> list[Candidates]:
    """Put searches to a gallery.

    Args:
        gallery: the listings.
        asker: puts them.
        searches: what is asked.
        labels: the classes of photos.
    """
    catalogue = gallery.searched.catalogue
    family = catalogue.facts.family
    found = []
    with Progress("searches asked", len(searches)) as progress:
        for asked in searches:
            query = asker.query(asked)
            rows = gallery.rows_without(asked.hidden)
            pool = gather(gallery.searched, query, rows=rows)
            grades = gallery.grades(asked)
            best = np.zeros(int(family.max()) + 1, np.int8)
            np.maximum.at(best, family, grades)
            there = np.unique(family)
            found.append(
                Candidates(
                    asked,
                    pool,
                    # A photo is asked of listings that have another: counted, it would give them away.
                    features_of(pool, query, catalogue, labels, rows=rows),
                    best[family[pool.positions]],
                    family[pool.positions],
                    np.bincount(best[there], minlength=4),
                )
            )
            progress.advance(1)
    return found


def first_grades(
    scores: NDArray[np.float64], found: Candidates, depth: int, of: NDArray[np.bool_] | None = None
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
