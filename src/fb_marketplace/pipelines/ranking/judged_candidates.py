"""Candidates of synthetic queries, with features and grades."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.relevance import UNRELATED, Grades
from fb_marketplace.observability.progress import Progress
from fb_marketplace.pipelines.ranking.search_corpus import QueryEncoder, SearchCorpus
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace_serving.search.candidates import (
    CandidateSet,
    QueryVectors,
    collect_candidates,
)
from fb_marketplace_serving.search.ranking.ranking_features import compute_features

_HITS_PER_FAMILY: Final = 4
"""Candidates that are searched first for each family."""


class JudgedCandidates(NamedTuple):
    """The candidates of one query.

    Attributes:
        query: the query.
        candidates: the retrieved listings, without ``matches`` and ``terms``.
        features: float64, (candidates, features).
        grades: int8, (candidates,).
        families: int32, (candidates,); results show only one hit per family.
        available: int64, (4,), number of families of each grade in the corpus.
    """

    query: SearchQuery
    candidates: CandidateSet
    features: NDArray[np.float64]
    grades: Grades
    families: NDArray[np.int32]
    available: NDArray[np.int64]

    def best(self, count: int) -> Self:
        """Return at most this many candidates, the best ones by fused score, ties by position."""
        candidates = self.candidates
        order = np.lexsort((candidates.positions, -candidates.fused))
        rows = np.sort(order[:count])
        best = replace(
            candidates,
            positions=candidates.positions[rows],
            similarity={source: values[rows] for source, values in candidates.similarity.items()},
            rank={source: values[rows] for source, values in candidates.rank.items()},
            fused=candidates.fused[rows],
            row=candidates.row[rows],
        )
        return self._replace(
            candidates=best,
            features=self.features[rows],
            grades=self.grades[rows],
            families=self.families[rows],
        )


def judge_candidates(
    corpus: SearchCorpus,
    encoder: QueryEncoder,
    queries: list[SearchQuery],
    labels: tuple[str, ...],
    reduce: Callable[[QueryVectors], QueryVectors] = lambda vectors: vectors,
    is_sold: bool = False,
    max_candidates: int | None = None,
) -> list[JudgedCandidates]:
    """Search a corpus and grade the candidates.

    Args:
        corpus: the listings.
        encoder: encoder of the queries.
        queries: the queries.
        labels: category labels of photos.
        reduce: returns the part of each query to search for; all by default. Grades are by the whole query.
        is_sold: whether the listing that each query looks for, and those of the same item, are hidden.
        max_candidates: see :meth:`JudgedCandidates.best`; None for all candidates.
    """
    store = corpus.indexes.listings
    family = store.features.family
    by_family = np.argsort(family, kind="stable")
    _, starts, listing_family = np.unique(family[by_family], return_index=True, return_inverse=True)
    place = np.empty(len(family), np.int64)
    place[by_family] = listing_family
    judged = []
    with Progress("queries judged", len(queries)) as progress:
        for query in queries:
            vectors = reduce(encoder.encode(query))
            rows, mask = corpus.rows_without(query.hidden), None
            grades = corpus.grades(query)
            if is_sold:
                mask = family != family[store.position(query.product_id)]
                grades[~mask] = UNRELATED
                visible = store.row_mask(mask)
                rows = visible if rows is None or visible is None else visible & rows
            candidates = collect_candidates(corpus.indexes, vectors, mask, rows)
            best = np.maximum.reduceat(grades[by_family], starts)
            result = JudgedCandidates(
                query,
                # All matches of thousands of queries would take gigabytes.
                replace(candidates, matches=None, terms=None),
                # Features must not use the hidden photo; the listing has another one.
                compute_features(candidates, vectors, store, labels, row_mask=rows),
                best[place[candidates.positions]],
                family[candidates.positions],
                np.bincount(best, minlength=4),
            )
            judged.append(result if max_candidates is None else result.best(max_candidates))
            progress.advance(1)
    return judged


def first_grades(
    scores: NDArray[np.float64],
    judged: JudgedCandidates,
    depth: int,
    mask: NDArray[np.bool_] | None = None,
) -> Grades:
    """Return the grades of the first hits, one per family: int8, (depth,), padded with 0.

    Args:
        scores: float64, (candidates,), higher is better; ties are broken by position.
        judged: the candidates.
        depth: number of hits.
        mask: bool, (candidates,), the candidates to rank; None for all.
    """
    # A stable sort breaks ties by position, since positions are sorted.
    order = np.argsort(-scores, kind="stable")
    if mask is not None:
        order = order[mask[order]]
    # Often, few of the first candidates are of the same family.
    for count in (_HITS_PER_FAMILY * depth, len(order)):
        _, first = np.unique(judged.families[order[:count]], return_index=True)
        if len(first) >= depth:
            break
    hits = judged.grades[order[np.sort(first)][:depth]]
    return np.pad(hits, (0, depth - len(hits)))
