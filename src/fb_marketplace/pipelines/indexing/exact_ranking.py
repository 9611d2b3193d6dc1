"""Rankings of photos: exact ones by matrix products, and those of the served index."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.relevance import EXCLUDED, SAME_PRODUCT, UNRELATED, Grades
from fb_marketplace.evaluation.retrieval_metrics import (
    DEPTH,
    Counts,
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


def rank_all(vectors: Vectors, gallery: Gallery) -> RankedResults:
    """Rank all photos of a gallery by cosine, with each photo as a query. Ties are broken by row."""
    rankings = [
        _rank(_similarities(vectors, queries), gallery.grades(queries))
        for queries in _blocks(np.arange(len(gallery)), len(gallery))
    ]
    return RankedResults(*(np.concatenate(parts) for parts in zip(*rankings, strict=True)))


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
    depth = DEPTH + gallery.most_copies
    hits, available = [], []
    for block in _blocks(np.arange(len(queries)), len(gallery)):
        grades = gallery.grades(queries[block])
        hits.append(_first_hits(*index.search(vectors[block], depth), grades))
        available.append(_available(grades))
    top = TopHits(*(np.concatenate(parts) for parts in zip(*hits, strict=True)))
    return top, RankedResults(top.grades, np.concatenate(available), None)


def _rank(similarities: NDArray[np.float32], grades: Grades) -> RankedResults:
    similarities[grades == EXCLUDED] = -np.inf
    order = np.argsort(-similarities, axis=1, kind="stable")
    ordered = np.take_along_axis(grades, order, axis=1)
    first = np.maximum(ordered[:, :DEPTH], UNRELATED)
    padded = np.pad(first, ((0, 0), (0, DEPTH - first.shape[1])), constant_values=UNRELATED)
    return RankedResults(padded, _available(grades), average_precision(ordered == SAME_PRODUCT))


def _first_hits(rows: RowIndices, distances: NDArray[np.float32], grades: Grades) -> TopHits:
    """Return the first results of an index, without excluded photos and the index's padding."""
    hit_grades = np.take_along_axis(grades, np.maximum(rows, 0), axis=1)
    valid = (rows >= 0) & (hit_grades != EXCLUDED)
    first = np.argsort(~valid, axis=1, kind="stable")[:, :DEPTH]
    present = np.take_along_axis(valid, first, axis=1)

    def select(values: NDArray[Any], fill: float) -> NDArray[Any]:
        selected = np.where(present, np.take_along_axis(values, first, axis=1), fill)
        missing = DEPTH - selected.shape[1]
        return np.pad(selected.astype(values.dtype), ((0, 0), (0, missing)), constant_values=fill)

    # The squared L2 distance of unit vectors is 2 - 2 cos.
    return TopHits(
        select(rows, NO_HIT), select(1 - distances / 2, np.nan), select(hit_grades, UNRELATED)
    )


def _available(grades: Grades) -> Counts:
    counts = [(grades == grade).sum(axis=1) for grade in range(SAME_PRODUCT + 1)]
    return np.stack(counts, axis=1).astype(np.int64)


def _similarities(vectors: Vectors, queries: RowIndices) -> NDArray[np.float32]:
    product = vectors[queries] @ vectors.T
    dense = product if isinstance(product, np.ndarray) else product.toarray()
    return np.asarray(dense, dtype=np.float32)


def _blocks(rows: RowIndices, photos: int) -> Iterator[RowIndices]:
    """Yield blocks of queries; one empty block if there are none."""
    size = max(1, SIMILARITY_BATCH_SIZE // max(1, photos))
    for start in range(0, max(1, len(rows)), size):
        yield rows[start : start + size]
