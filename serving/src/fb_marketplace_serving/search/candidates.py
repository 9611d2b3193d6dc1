"""Candidates for a query: what each source finds, and how each candidate stands with all of them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.listing_store import ListingStore, Mask, Positions

Source = Literal["bm25", "text", "text_to_image", "image", "multimodal"]
SOURCES: Final[tuple[Source, ...]] = ("bm25", "text", "text_to_image", "image", "multimodal")
"""Listings that hold a query's words; that mean the same; whose photos look as the words say; whose photos
look like the photo; whose photos look like the photo as the words change it."""

DEPTH: Final = 100
"""Listings that a source finds."""

RRF_K: Final = 60
"""Of reciprocal ranks, as Cormack et al. (2009) have it."""

Vector = NDArray[np.float32]


class QueryVectors(NamedTuple):
    """What is searched for, as the encoders put it: words, a photo, or both.

    Attributes:
        words: what was typed.
        meaning: float32, (text dimension,), of the words.
        pictured: float32, (picture dimension,), where pictures of what the words name lie.
        photo: float32, (photo dimension,), the embedding of a photo.
        photo_categories: float32, (labels,), how probable the photo is to be of each.
    """

    words: str = ""
    meaning: Vector | None = None
    pictured: Vector | None = None
    photo: Vector | None = None
    photo_categories: Vector | None = None


@dataclass(frozen=True, slots=True)
class PhotoQuery:
    """Vectors of photos, and one that they are held against."""

    photos: Index
    vector: Vector


class SearchIndexes(NamedTuple):
    """Where candidates come from, of one release.

    Attributes:
        catalogue: the listings.
        photos: vectors of photos, by which those that look alike are near.
        pictures: vectors of the same photos, row by row, by which they are near to what they show in words.
        texts: vectors of the listings' texts; row i is of the listing at position i.
        words: terms of the listings' texts; document i is the listing at position i.
    """

    catalogue: ListingStore
    photos: Index
    pictures: Index
    texts: Index
    words: BM25Index


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """Candidates of one query, by position.

    Attributes:
        positions: int64, (candidates,), sorted.
        similarity: float32, (candidates,), by source: cosines, and for words the sum of BM25; NaN where a
            listing has no photo. Of sources that the query asks.
        rank: int32, (candidates,), by source: 1 for the first that it found, 0 for what it did not find.
        fused: float64, (candidates,), the sum of reciprocal ranks.
        row: int64, (candidates,), the photo to show: the one most like the query; -1 where there is none.
    """

    positions: Positions
    similarity: dict[Source, NDArray[np.float32]]
    rank: dict[Source, NDArray[np.int32]]
    fused: NDArray[np.float64]
    row: Positions

    def __len__(self) -> int:
        return len(self.positions)


def collect_candidates(
    searched: SearchIndexes,
    query: QueryVectors,
    listings: Mask | None = None,
    rows: Mask | None = None,
    depth: int = DEPTH,
) -> CandidateSet:
    """Gather what each source that the query asks finds first among the listings that a filter keeps.

    Args:
        searched: where.
        query: what for.
        listings: bool, (listings,), those that may be found.
        rows: bool, (rows,), the photos by which they may be found; those of the listings, or fewer.
        depth: how many each source finds; fewer where there are no more.
    """
    catalogue = searched.catalogue
    if rows is None:
        rows = catalogue.rows_kept(listings)
    found: dict[Source, Positions] = {}
    bm25: NDArray[np.float32] | None = None
    if query.words:
        bm25 = searched.words.scores(query.words)
        found["bm25"] = _first(bm25, listings, depth)
    if query.meaning is not None:
        found["text"] = searched.texts.search(query.meaning, depth, listings).rows
    views = _views(searched, query)
    for source, view in views.items():
        found[source] = _by_photo(catalogue, view, rows, depth)
    if not found:
        raise ValueError("found a query of neither words nor a photo; expected one of them")
    positions = np.unique(np.concatenate(list(found.values()))).astype(np.int64)
    similarity: dict[Source, NDArray[np.float32]] = {}
    if bm25 is not None:
        similarity["bm25"] = bm25[positions]
    if query.meaning is not None:
        similarity["text"] = searched.texts.cosines(query.meaning, positions)
    row = _first_rows(catalogue, positions, rows)
    for source, view in views.items():
        similarity[source], row = _best_rows(catalogue, [view], positions, rows)
    if len(views) > 1:
        similarity["multimodal"], row = _best_rows(catalogue, views.values(), positions, rows)
        seen = np.isin(positions, np.concatenate([found[source] for source in views]))
        found["multimodal"] = _best(positions[seen], similarity["multimodal"][seen], depth)
    rank = {source: _ranks(positions, places) for source, places in found.items()}
    fused = sum(
        (np.where(ranks > 0, 1 / (RRF_K + ranks), 0.0) for ranks in rank.values()),
        start=np.zeros(len(positions)),
    )
    return CandidateSet(positions, similarity, rank, fused, row)


def _views(searched: SearchIndexes, query: QueryVectors) -> dict[Source, PhotoQuery]:
    """Give what photos are held against, of what the query asks; the last decides which photo is shown."""
    views: dict[Source, PhotoQuery] = {}
    if query.pictured is not None:
        views["text_to_image"] = PhotoQuery(searched.pictures, query.pictured)
    if query.photo is not None:
        views["image"] = PhotoQuery(searched.photos, query.photo)
    return views


def _best(positions: Positions, similarity: NDArray[np.float32], count: int) -> Positions:
    """Give the positions of the highest similarities, highest first, of equals the lower."""
    return positions[np.lexsort((positions, -similarity))][:count]


def _first(scores: NDArray[np.float32], kept: Mask | None, count: int) -> Positions:
    """Give the positions of the highest scores above zero, highest first, of equals the lower."""
    there = scores > 0 if kept is None else (scores > 0) & kept
    places = np.flatnonzero(there)
    if len(places) > count:
        # All that tie with the last, so that which of them are taken hangs on their order alone.
        least = np.partition(scores[places], len(places) - count)[len(places) - count]
        places = places[scores[places] >= least]
    order = np.lexsort((places, -scores[places]))
    return places[order][:count]


def _by_photo(
    catalogue: ListingStore, view: PhotoQuery, rows: Mask | None, depth: int
) -> Positions:
    """Give the listings of the nearest photos, each once, nearest first."""
    available = len(view.photos) if rows is None else int(rows.sum())
    reach = 2 * depth
    while True:
        nearest = view.photos.search(view.vector, min(max(reach, 1), max(available, 1)), rows).rows
        listings = catalogue.listing_of_row[nearest].astype(np.int64)
        _, first = np.unique(listings, return_index=True)
        if len(first) >= depth or reach >= available:
            return listings[np.sort(first)][:depth]
        reach *= 4


def _ranks(positions: Positions, found: Positions) -> NDArray[np.int32]:
    ranks = np.zeros(len(positions), np.int32)
    ranks[np.searchsorted(positions, found)] = np.arange(1, len(found) + 1)
    return ranks


def _rows_of(
    catalogue: ListingStore, positions: Positions, kept: Mask | None
) -> tuple[Positions, Positions]:
    """Give the rows of listings, and for each the place of its listing among the positions."""
    parts = [catalogue.rows_of(position) for position in positions.tolist()]
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows = np.concatenate(parts)
    places = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    if kept is None:
        return rows, places
    there = kept[rows]
    return rows[there], places[there]


def _first_rows(catalogue: ListingStore, positions: Positions, kept: Mask | None) -> Positions:
    rows, places = _rows_of(catalogue, positions, kept)
    first = np.full(len(positions), -1, np.int64)
    first[places[::-1]] = rows[::-1]
    return first


def _best_rows(
    catalogue: ListingStore, views: Collection[PhotoQuery], positions: Positions, kept: Mask | None
) -> tuple[NDArray[np.float32], Positions]:
    """Say of each listing how like what is asked its likest photo is, and which that is.

    By several views at once it is the mean of the cosines.
    """
    rows, places = _rows_of(catalogue, positions, kept)
    cosines = np.mean([view.photos.cosines(view.vector, rows) for view in views], axis=0)
    best = np.full(len(positions), np.nan, np.float32)
    row = np.full(len(positions), -1, np.int64)
    # Sorted so that the likest, and of equals the lowest row, is written last.
    order = np.lexsort((-rows, cosines))
    best[places[order]] = cosines[order]
    row[places[order]] = rows[order]
    return best, row
