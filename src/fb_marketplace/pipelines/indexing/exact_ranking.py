"""Who is found by whom: by a product of matrices among few photos, by the index as it is served."""

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
"""float32, (photos, dimension), each row of unit length or zero; an array, or a sparse one of SciPy's."""

SIMILARITY_BATCH_SIZE: Final = 4_000_000
"""Bounds the memory: queries are taken in blocks, and no matrix of all by all is made."""

NO_HIT: Final = -1


class TopHits(NamedTuple):
    """What the index gave for each query, first hits first; all (queries, 10).

    Attributes:
        places: int64, in the gallery; -1 where there was no more.
        similarities: float32, cosines.
        grades: int8; 0 where there was no more.
    """

    places: RowIndices
    similarities: NDArray[np.float32]
    grades: Grades


def rank_all(vectors: Vectors, gallery: Gallery) -> RankedResults:
    """Ask a gallery for each of its own photos, by cosine; of equals the first in the gallery leads."""
    rankings = [
        _ranked(_similarities(vectors, queries), gallery.grades(queries))
        for queries in _blocks(np.arange(len(gallery)), len(gallery))
    ]
    return RankedResults(*(np.concatenate(parts) for parts in zip(*rankings, strict=True)))


def exact_search(
    index: Index, gallery: Gallery, queries: RowIndices, vectors: NDArray[np.float32]
) -> tuple[TopHits, RankedResults]:
    """Ask the index for photos that it holds, and leave out each one's copies.

    Args:
        index: as it is served.
        gallery: its photos, in its order.
        queries: places in the gallery.
        vectors: float32, (queries, dimension).
    """
    reach = DEPTH + gallery.most_copies
    found, available = [], []
    for block in _blocks(np.arange(len(queries)), len(gallery)):
        grades = gallery.grades(queries[block])
        found.append(_first_hits(*index.search(vectors[block], reach), grades))
        available.append(_available(grades))
    hits = TopHits(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    return hits, RankedResults(hits.grades, np.concatenate(available), None)


def _ranked(similarities: NDArray[np.float32], grades: Grades) -> RankedResults:
    similarities[grades == EXCLUDED] = -np.inf
    order = np.argsort(-similarities, axis=1, kind="stable")
    ordered = np.take_along_axis(grades, order, axis=1)
    first = np.maximum(ordered[:, :DEPTH], UNRELATED)
    padded = np.pad(first, ((0, 0), (0, DEPTH - first.shape[1])), constant_values=UNRELATED)
    return RankedResults(padded, _available(grades), average_precision(ordered == SAME_PRODUCT))


def _first_hits(rows: RowIndices, distances: NDArray[np.float32], grades: Grades) -> TopHits:
    """Take the first of what an index gave, without what is left out and what is no row."""
    of_hits = np.take_along_axis(grades, np.maximum(rows, 0), axis=1)
    kept = (rows >= 0) & (of_hits != EXCLUDED)
    first = np.argsort(~kept, axis=1, kind="stable")[:, :DEPTH]
    there = np.take_along_axis(kept, first, axis=1)

    def taken(each: NDArray[Any], nothing: float) -> NDArray[Any]:
        chosen = np.where(there, np.take_along_axis(each, first, axis=1), nothing).astype(
            each.dtype
        )
        lacking = DEPTH - chosen.shape[1]
        return np.pad(chosen, ((0, 0), (0, lacking)), constant_values=nothing)

    # Between unit vectors the squared distance is 2 - 2 cos.
    return TopHits(taken(rows, NO_HIT), taken(1 - distances / 2, np.nan), taken(of_hits, UNRELATED))


def _available(grades: Grades) -> Counts:
    counts = [(grades == grade).sum(axis=1) for grade in range(SAME_PRODUCT + 1)]
    return np.stack(counts, axis=1).astype(np.int64)


def _similarities(vectors: Vectors, queries: RowIndices) -> NDArray[np.float32]:
    product = vectors[queries] @ vectors.T
    dense = product if isinstance(product, np.ndarray) else product.toarray()
    return np.asarray(dense, dtype=np.float32)


def _blocks(places: RowIndices, photos: int) -> Iterator[RowIndices]:
    """Cut queries into blocks; one empty block where there are none."""
    size = max(1, SIMILARITY_BATCH_SIZE // max(1, photos))
    for start in range(0, max(1, len(places)), size):
        yield places[start : start + size]
