"""Search over the test listings as on the server: with corrections and the threshold."""

from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.retrieval_metrics import DEPTH
from fb_marketplace.pipelines.ranking.search_corpus import SearchCorpus
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.search.candidates import QueryVectors
from fb_marketplace_serving.search.engine import SearchEngine, Sort
from fb_marketplace_serving.search.listings.filters import GeoFilter, SearchFilters
from fb_marketplace_serving.search.query.parser import Kind
from fb_marketplace_serving.search.query.understanding import QueryUnderstanding
from fb_marketplace_serving.search.results import SearchResults

WORDS_ONLY: Final = frozenset(get_args(Kind))
"""Phrases about prices and places stay in the words: otherwise they would become filters."""


class ServedSearch:
    """A search over the listings of a split.

    Attributes:
        corpus: the listings.
    """

    def __init__(
        self,
        corpus: SearchCorpus,
        encoder: TextEncoder,
        engine: SearchEngine,
        understanding: QueryUnderstanding,
    ) -> None:
        """Set the listings, the encoder of words, the engine over the listings, and the speller.

        The speller knows the words of all listings, as on the server.
        """
        self.corpus = corpus
        self._encoder, self._engine, self._understanding = encoder, engine, understanding
        self._vectors: dict[str, QueryVectors] = {}
        self._first: dict[str, NDArray[np.int64]] = {}

    def correct(self, text: str) -> str:
        """Return a query with the corrections that the server searches for."""
        return self._understanding.understand(text, WORDS_ONLY).text

    def search(self, text: str, sort: Sort = "relevance", near: int | None = None) -> SearchResults:
        """Search for a text, without correcting it.

        Args:
            text: the query.
            sort: order of the results.
            near: position of the listing from whose location distances are measured.
        """
        filters = SearchFilters(location=None if near is None else self.location(near))
        if text not in self._vectors:
            self._vectors[text] = QueryVectors.from_words(text, self._encoder.encode([text]))
        return self._engine.search(self._vectors[text], filters, sort)

    def location(self, position: int) -> GeoFilter | None:
        """Return the location of a listing; None if it is unknown."""
        features = self.corpus.indexes.listings.features
        latitude, longitude = features.latitude[position], features.longitude[position]
        if np.isnan(latitude) or np.isnan(longitude):
            return None
        return GeoFilter(float(latitude), float(longitude))

    def finds(self, text: str, product_id: str) -> bool:
        """Return whether a listing, or another of its family, is among the first ten hits of a text."""
        if text not in self._first:
            hits = self.search(text).hits[:DEPTH]
            self._first[text] = np.array([hit.position for hit in hits], np.int64)
        store = self.corpus.indexes.listings
        family = store.features.family
        return bool((family[self._first[text]] == family[store.position(product_id)]).any())
