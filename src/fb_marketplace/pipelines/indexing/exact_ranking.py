"""Rankings of photos: exact ones by matrix products, and those of the served index."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.relevance import EXCLUDED, UNRELATED, Grades
from fb_marketplace.evaluation.retrieval_metrics import (
    DEPTH,
    RankedResults,
    average_precision,
)
from fb_marketplace.pipelines.indexing.gallery import Gallery, RowIndices
from fb_marketplace_serving.ann.index import Index

Vectors: TypeAlias = Any
"""float32, (photos, dimension), rows of unit length or all zero; a NumPy array or a SciPy sparse array."""

SIMILARITY_BATCH_SIZE: Final = 4_000_000
"""Number of similarities computed at a time. It bounds memory: the full matrix is never built."""

NO_HIT: Final = -1


class TopHits(NamedTuple):
    """The first hits of each query, best first; each array is (queries, 10).

    Attributes:
        rows: int64, rows of the gallery, padded with -1.
        similarities: float32, cosines, padded with NaN.
        grades: int8, padded with 0.
    """

    rows: RowIndices
    similarities: NDArray[np.float32]
    grades: Grades


def rank_all(
    vectors: Vectors, gallery: Gallery, queries: RowIndices | None = None
) -> RankedResults:
    """Rank all photos of a gallery by cosine. Ties are broken by row.

    Args:
        vectors: one per photo.
        gallery: the photos.
        queries: int64, (queries,), rows of the gallery; None for all.
    """
    if queries is None:
        queries = np.arange(len(gallery))
    rankings = [
        _rank(_similarities(vectors, queries[block]), gallery, queries[block])
        for block in _blocks(len(queries), len(gallery))
    ]
    hits, precisions = (np.concatenate(parts) for parts in zip(*rankings, strict=True))
    return RankedResults(hits, gallery.available(queries), precisions)


def exact_search(
    index: Index, gallery: Gallery, queries: RowIndices, vectors: NDArray[np.float32]
) -> tuple[TopHits, RankedResults]:
    """Search the index with photos that it contains. A query photo and its copies do not count as hits.

    Args:
        index: the served index.
        gallery: the photos of the index, in its order.
        queries: int64, (queries,), rows of the gallery.
        vectors: float32, (queries, dimension).
    """
    depths = DEPTH + gallery.copies(queries)
    # A few photos have thousands of copies: queries of about the same depth are searched together.
    magnitudes = np.frexp(depths)[1]
    order = np.argsort(magnitudes, kind="stable")
    hits = []
    for group in np.split(order, np.flatnonzero(np.diff(magnitudes[order])) + 1):
        depth = int(depths[group].max(initial=DEPTH))
        for block in _blocks(len(group), depth):
            rows = group[block]
            neighbors, distances = index.search(vectors[rows], depth)
            grades = gallery.grades(queries[rows], np.maximum(neighbors, 0))
            hits.append(_first_hits(neighbors, distances, grades))
    back = np.argsort(order)
    top = TopHits(*(np.concatenate(parts)[back] for parts in zip(*hits, strict=True)))
    return top, RankedResults(top.grades, gallery.available(queries), None)


def _rank(
    similarities: NDArray[np.float32], gallery: Gallery, queries: RowIndices
) -> tuple[Grades, NDArray[np.float64]]:
    """Return the grades of the first hits, and the average precision, of each query.

    The rank of a photo is the number of photos before it. This is quicker than sorting all photos.
    """
    excluded = gallery.is_excluded(queries)
    similarities[excluded] = -np.inf
    depth = min(DEPTH, similarities.shape[1])
    hits = np.maximum(gallery.grades(queries, _first(similarities, depth)), UNRELATED)
    padded = np.pad(hits, ((0, 0), (0, DEPTH - depth)), constant_values=UNRELATED)
    query, row = np.nonzero(gallery.is_same_product(queries) & ~excluded)
    rank = np.array(
        [_rank_of(similarities[one], int(other)) for one, other in zip(query, row, strict=True)],
        np.int64,
    )
    return padded, average_precision(query, rank, len(queries))


def _first(similarities: NDArray[np.float32], depth: int) -> RowIndices:
    """Return the columns with the highest values, best first, ties by column: int64, (queries, depth)."""
    thresholds = -np.partition(-similarities, depth - 1, axis=1)[:, depth - 1]
    first = np.empty((len(similarities), depth), np.int64)
    for query, values in enumerate(similarities):
        columns = np.flatnonzero(values >= thresholds[query])
        first[query] = columns[np.argsort(-values[columns], kind="stable")[:depth]]
    return first


def _rank_of(similarities: NDArray[np.float32], row: int) -> int:
    """Return the rank of a photo, from 1."""
    value = similarities[row]
    ties = np.count_nonzero(similarities[:row] == value)
    return int(np.count_nonzero(similarities > value) + ties) + 1


def _first_hits(rows: RowIndices, distances: NDArray[np.float32], grades: Grades) -> TopHits:
    """Return the first results of an index, without excluded photos and the index's padding."""
    valid = (rows >= 0) & (grades != EXCLUDED)
    first = np.argsort(~valid, axis=1, kind="stable")[:, :DEPTH]
    present = np.take_along_axis(valid, first, axis=1)

    def select(values: NDArray[Any], fill: float) -> NDArray[Any]:
        selected = np.where(present, np.take_along_axis(values, first, axis=1), fill)
        missing = DEPTH - selected.shape[1]
        return np.pad(selected.astype(values.dtype), ((0, 0), (0, missing)), constant_values=fill)

    # The squared L2 distance of unit vectors is 2 - 2 cos.
    return TopHits(
        select(rows, NO_HIT), select(1 - distances / 2, np.nan), select(grades, UNRELATED)
    )


def _similarities(vectors: Vectors, queries: RowIndices) -> NDArray[np.float32]:
    product = vectors[queries] @ vectors.T
    dense = product if isinstance(product, np.ndarray) else product.toarray()
    return np.asarray(dense, dtype=np.float32)


def _blocks(queries: int, photos: int) -> Iterator[slice]:
    """Yield blocks of queries; one empty block if there are none."""
    size = max(1, SIMILARITY_BATCH_SIZE // max(1, photos))
    for start in range(0, max(1, queries), size):
        yield slice(start, min(start + size, queries))
