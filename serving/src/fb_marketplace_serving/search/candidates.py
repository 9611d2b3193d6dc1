"""Candidates for a query: the top results of each source, each with its similarity by all sources."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import TextEncoding
from fb_marketplace_serving.interpreter_lock import INTERPRETER
from fb_marketplace_serving.search.bm25 import BM25Index, TermMatches
from fb_marketplace_serving.search.listings.listing_store import ListingStore, Mask, Positions

Source = Literal["bm25", "text", "text_to_image", "image", "multimodal"]
SOURCES: Final[tuple[Source, ...]] = ("bm25", "text", "text_to_image", "image", "multimodal")
"""In this order, a source ranks listings by shared terms, by text embeddings, by photos similar to the
query's text, by photos similar to the query's photo, or by photos similar to both."""

DEFAULT_TOP_K: Final = 100
"""Listings per source."""

MIN_RELEASED_LISTINGS: Final = 5_000
"""Number of listings from which another search runs while vectors are compared. For fewer, to change
threads takes as much time as it saves."""

RRF_K: Final = 60
"""Constant of reciprocal rank fusion, as in Cormack et al. (2009)."""

Vector = NDArray[np.float32]


class QueryVectors(NamedTuple):
    """An encoded query: words, a photo, or both.

    Attributes:
        words: the text.
        text_embedding: float32, (text dimension,), the text's embedding.
        text_to_image_embedding: float32, (text-to-image dimension,), the text's embedding in the
            space of image embeddings.
        photo: float32, (image dimension,), the photo's embedding.
        photo_categories: float32, (labels,), the photo's class probabilities.
    """

    words: str = ""
    text_embedding: Vector | None = None
    text_to_image_embedding: Vector | None = None
    photo: Vector | None = None
    photo_categories: Vector | None = None

    @classmethod
    def from_words(cls, words: str, encoding: TextEncoding) -> Self:
        """Return a query for words. Without a projection, words search no photos.

        Args:
            words: the text.
            encoding: its encoding.
        """
        text_to_image = encoding.text_to_image_embedding[0]
        return cls(words, encoding.text_embedding[0], text_to_image if len(text_to_image) else None)

    def without_words(self) -> Self:
        """Return the photo alone."""
        return self._replace(words="", text_embedding=None, text_to_image_embedding=None)

    def without_photo(self) -> Self:
        """Return the words alone."""
        return self._replace(photo=None, photo_categories=None)


@dataclass(frozen=True, slots=True)
class PhotoQuery:
    """An index of photos and the query vector for it."""

    photos: Index
    vector: Vector


class SearchIndexes(NamedTuple):
    """The indexes of one release, named like the sources that use them.

    Attributes:
        listings: the listings.
        image: image embeddings of photos.
        text_to_image: the same photos, row by row, in the space that texts are projected into.
        text: embeddings of texts; row i is the listing at position i.
        bm25: terms of texts; document i is the listing at position i.
    """

    listings: ListingStore
    image: Index
    text_to_image: Index
    text: Index
    bm25: BM25Index


@dataclass(frozen=True)
class CandidateSet:
    """Candidates of one query.

    Attributes:
        positions: int64, (candidates,), positions of the listings, sorted.
        similarity: float32, (candidates,), for each source that the query uses: cosine similarities, or
            BM25 scores. NaN in sources of photos if a listing has none.
        rank: int32, (candidates,), for each source: 1 for its top result; 0 for a candidate that is not
            among its results.
        fused: float64, (candidates,), reciprocal rank fusion: the sum of 1 / (RRF_K + rank).
        row: int64, (candidates,), row of the photo most similar to the query; -1 if there is none.
        matches: all listings that share terms with the query; None without words.
        terms: int32, (candidates,), their groups in ``matches``; None without words.
    """

    positions: Positions
    similarity: dict[Source, NDArray[np.float32]]
    rank: dict[Source, NDArray[np.int32]]
    fused: NDArray[np.float64]
    row: Positions
    matches: TermMatches | None = None
    terms: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def by_fused_rank(self) -> NDArray[np.int64]:
        """Indices of the candidates by fused rank, best first; ties by position."""
        return np.argsort(-self.fused, kind="stable")


def collect_candidates(
    indexes: SearchIndexes,
    query: QueryVectors,
    listing_mask: Mask | None = None,
    row_mask: Mask | None = None,
    top_k: int = DEFAULT_TOP_K,
) -> CandidateSet:
    """Collect the top results of each source that the query uses, among the listings of a mask.

    With words and a photo, the listings with a word in the title whose photos are nearest are added.

    Args:
        indexes: the indexes.
        query: the query.
        listing_mask: bool, (listings,), the listings to search; None for all.
        row_mask: bool, (rows,), the photos to search, a subset of the listings' photos; None for all of
            these.
        top_k: listings per source.

    Returns:
        The union of all results, with their similarity and rank by source.

    Raises:
        ValueError: the query has neither words nor a photo.
    """
    listings = indexes.listings
    if row_mask is None:
        row_mask = listings.row_mask(listing_mask)
    results: dict[Source, Positions] = {}
    photo_queries = _photo_queries(indexes, query)
    by_vector: dict[Source, Positions] = {}
    with release_interpreter(listings):
        if query.text_embedding is not None:
            by_vector["text"] = indexes.text.nearest(query.text_embedding, top_k, listing_mask)
        for source, photo_query in photo_queries.items():
            by_vector[source] = _nearest_listings(listings, photo_query, row_mask, top_k)
    INTERPRETER.acquire()  # The encoder of texts may have released it.
    matches = indexes.bm25.match(query.words) if query.words else None
    if matches is not None:
        results["bm25"] = _top_scores(matches, listing_mask, top_k)
    results |= by_vector  # in the order of ``SOURCES``
    if not results:
        raise ValueError("the query has neither words nor a photo; expected at least one")
    retrieved = list(results.values())
    if matches is not None and "image" in photo_queries:
        # "This, but in red": a listing may be neither among the best by photo nor among those by words.
        in_title = matches.documents[(matches.title_of_group > 0)[matches.group]]
        rows, _ = listings.rows_of_all(in_title)
        rows = rows if row_mask is None else rows[row_mask[rows]]
        retrieved.append(_nearest_listings(listings, photo_queries["image"], rows, top_k))
    positions = np.sort(np.concatenate(retrieved))
    positions = positions[_is_first(positions)]
    similarity: dict[Source, NDArray[np.float32]] = {}
    terms = None
    if matches is not None:
        similarity["bm25"], terms = matches.of(positions)
    if query.text_embedding is not None:
        similarity["text"] = indexes.text.cosines(query.text_embedding, positions)
    photos = _CandidatePhotos(listings, positions, row_mask)
    cosines = [
        photo_query.photos.cosines(photo_query.vector, photos.rows)
        for photo_query in photo_queries.values()
    ]
    for source, values in zip(photo_queries, cosines, strict=True):
        similarity[source] = photos.best(values)
    if not cosines:
        row = photos.first()
    elif len(cosines) == 1:
        (source,) = photo_queries
        row = photos.most_similar(cosines[0], similarity[source])
    else:
        mean = sum(cosines[1:], start=cosines[0]) / np.float32(len(cosines))
        both = similarity["multimodal"] = photos.best(mean)
        row = photos.most_similar(mean, both)
        by_photo = np.zeros(len(positions), np.bool_)
        by_photo[
            np.searchsorted(
                positions, np.concatenate([results[source] for source in photo_queries])
            )
        ] = True
        results["multimodal"] = _most_similar(positions[by_photo], both[by_photo], top_k)
    rank, fused = _fuse(positions, results)
    return CandidateSet(positions, similarity, rank, fused, row, matches, terms)


def release_interpreter(listings: ListingStore) -> AbstractContextManager[None]:
    """Let another search run while vectors are compared, if there are many listings."""
    if len(listings) >= MIN_RELEASED_LISTINGS:
        return INTERPRETER.released()
    INTERPRETER.acquire()
    return nullcontext()


def _photo_queries(indexes: SearchIndexes, query: QueryVectors) -> dict[Source, PhotoQuery]:
    """Return the photo queries by source."""
    queries: dict[Source, PhotoQuery] = {}
    if query.text_to_image_embedding is not None and len(indexes.text_to_image):
        queries["text_to_image"] = PhotoQuery(indexes.text_to_image, query.text_to_image_embedding)
    if query.photo is not None:
        queries["image"] = PhotoQuery(indexes.image, query.photo)
    return queries


def _most_similar(positions: Positions, similarity: NDArray[np.float32], count: int) -> Positions:
    """Return the positions, which are sorted, of the highest similarities; ties by position."""
    return positions[np.argsort(-similarity, kind="stable")][:count]


def _top_scores(matches: TermMatches, mask: Mask | None, count: int) -> Positions:
    """Return the positions of the highest positive scores, highest first; ties by position."""
    scores, positions = matches.scores, matches.documents
    if mask is not None:
        is_listed = mask[positions]
        scores, positions = scores[is_listed], positions[is_listed]
    least = np.float32(0)
    if len(positions) > count:
        # Keep all positions that tie with the last one: the sort below decides between them.
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
    best = np.flatnonzero((scores >= least) & (scores > 0))
    return positions[best[np.argsort(-scores[best], kind="stable")]][:count]


def _nearest_listings(
    listings: ListingStore, query: PhotoQuery, rows: Mask | Positions | None, top_k: int
) -> Positions:
    """Return the distinct listings of the nearest photos, nearest first.

    Args:
        listings: the listings.
        query: the photos and the query vector.
        rows: the photos to search, as a mask or as distinct rows; None for all.
        top_k: number of listings. There may be fewer if photos are read from a table, and thousands of the
            nearest are of the same listings.
    """
    available = len(query.photos) if rows is None else int(np.count_nonzero(rows))
    if rows is not None and rows.dtype != np.bool_:
        available = len(rows)
    available = min(available, max(top_k, query.photos.max_rows))
    # Few listings have several of the nearest photos.
    reach = top_k + top_k // 2
    while True:
        count = min(max(reach, 1), max(available, 1))
        nearest = query.photos.nearest(query.vector, count, rows)
        positions = list(dict.fromkeys(listings.listing_of_row[nearest].tolist()))
        if len(positions) >= top_k or reach >= available:
            return np.array(positions[:top_k], np.int64)
        reach *= 4


def _is_first(values: Positions) -> Mask:
    """Return which sorted values differ from the one before: bool, (values,)."""
    mask = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=mask[1:])
    return mask


def _fuse(
    positions: Positions, results: dict[Source, Positions]
) -> tuple[dict[Source, NDArray[np.int32]], NDArray[np.float64]]:
    """Return the rank of each candidate by each source, and its fused rank; see :class:`CandidateSet`."""
    # All sources at once: for a few hundred candidates, the number of calls of NumPy is the cost.
    places = np.searchsorted(positions, np.concatenate([*results.values()]))
    lengths = [len(listed) for listed in results.values()]
    ranks = np.concatenate([np.arange(1, length + 1) for length in lengths])
    by_source = np.zeros((len(results), len(positions)), np.int32)
    by_source[np.repeat(np.arange(len(results)), lengths), places] = ranks
    fused = np.bincount(places, 1 / (RRF_K + ranks), len(positions)).astype(np.float64, copy=False)
    return dict(zip(results, by_source, strict=True)), fused


class _CandidatePhotos:
    """The photos of some listings.

    Attributes:
        rows: int64, (photos,), their rows in the image index.
    """

    def __init__(self, listings: ListingStore, positions: Positions, row_mask: Mask | None) -> None:
        rows, owners = listings.rows_of_all(positions)
        if row_mask is not None:
            selected = row_mask[rows]
            rows, owners = rows[selected], owners[selected]
        self.rows, self._owners, self._count = rows, owners, len(positions)
        # The photos of a listing follow one another, in the order of their rows.
        self._starts = np.flatnonzero(_is_first(owners))

    def first(self) -> Positions:
        """Return the row of each listing's first photo; -1 if it has none."""
        first = np.full(self._count, -1, np.int64)
        first[self._owners[self._starts]] = self.rows[self._starts]
        return first

    def best(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the similarity of each listing's most similar photo.

        Args:
            cosines: float32, (photos,).

        Returns:
            float32, (listings,); NaN for a listing without photos.
        """
        best = np.full(self._count, np.nan, np.float32)
        if len(cosines):
            best[self._owners[self._starts]] = np.maximum.reduceat(cosines, self._starts)
        return best

    def most_similar(self, cosines: NDArray[np.float32], best: NDArray[np.float32]) -> Positions:
        """Return the row of each listing's most similar photo.

        Args:
            cosines: float32, (photos,).
            best: float32, (listings,), from :meth:`best`.

        Returns:
            int64, (listings,); -1 for a listing without photos.
        """
        row = np.full(self._count, -1, np.int64)
        # Of several values for one index, NumPy stores the last: here, the lowest row among ties.
        most_similar = np.flatnonzero(cosines == best[self._owners])[::-1]
        row[self._owners[most_similar]] = self.rows[most_similar]
        return row
