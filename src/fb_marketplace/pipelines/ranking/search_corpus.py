"""Listings of some splits, indexed and searched like on the server."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fb_marketplace.ann.bm25 import build_bm25_index
from fb_marketplace.evaluation.relevance import (
    SAME_PATH,
    SAME_PRODUCT,
    SAME_ROOT,
    UNRELATED,
    Grades,
)
from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace.pipelines.ranking.composed_queries import COMPOSED, object_words
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace.storage.vectors import VectorTable
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.search.candidates import QueryVectors, SearchIndexes
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.listings.listing_features import ListingFeatures
from fb_marketplace_serving.search.listings.listing_store import ListingStore, Mask


class SearchCorpus:
    """Indexed listings, and the relevance of each to a query.

    Attributes:
        indexes: indexes of these listings, of the server's types; vector indexes are flat.
    """

    def __init__(
        self,
        products: pd.DataFrame,
        listings: Mapping[str, Listing],
        features: ListingFeatures,
        photos: VectorTable,
        projected_photos: VectorTable,
        photo_products: dict[str, str],
        texts: VectorTable,
        parameters: BM25Parameters,
    ) -> None:
        """Index listings.

        Args:
            products: the listings: ``product_id``, ``title``, ``description``.
            listings: listing cards by id.
            features: features of at least these listings.
            photos: embeddings of all photos.
            projected_photos: all photos projected into the common space of texts and photos.
            photo_products: listing of each photo.
            texts: embeddings of all texts.
            parameters: parameters of BM25.
        """
        ordered = products.sort_values("product_id")
        ids = ordered["product_id"].to_list()
        members = set(ids)
        images = [name for name in photos.ids if photo_products.get(name) in members]
        index = Index.build_flat(
            photos.select(images), images, [photo_products[name] for name in images]
        )
        self.indexes = SearchIndexes(
            ListingStore(index, listings, features.select(ids)),
            index,
            self._project(projected_photos, index),
            Index.build_flat(texts.select(ids), ids, ids),
            build_bm25_index(ordered, parameters),
        )
        self._row = {name: row for row, name in enumerate(index.image_ids)}
        self._titles = ordered["title"].to_list()

    @staticmethod
    def _project(projected_photos: VectorTable, index: Index) -> Index:
        """Return the photos of an index in the common space; none if there is no projection."""
        if not projected_photos.ids:
            return Index.empty()
        vectors = projected_photos.select(list(index.image_ids))
        return Index.build_flat(vectors, index.image_ids, index.product_ids)

    def rows_without(self, hidden: frozenset[str]) -> Mask | None:
        """Return a mask of the photos that are not hidden: bool, (rows,); None if none is hidden."""
        if not hidden:
            return None
        visible = np.ones(len(self.indexes.image), np.bool_)
        visible[[self._row[name] for name in hidden if name in self._row]] = False
        return visible

    def grades(self, query: SearchQuery) -> Grades:
        """Return the grade of every listing for a query: int8, (listings,)."""
        store = self.indexes.listings
        source = store.position(query.product_id)
        grades = np.zeros(len(store), np.int8)
        if query.kind == COMPOSED:
            has_attribute = self.indexes.bm25.match(query.words).title > 0
            grades[has_attribute & (store.path == store.path[source])] = SAME_PATH
            shared = self.indexes.bm25.match(object_words(self._titles[source])).title > 0
            grades[(grades == SAME_PATH) & shared] = SAME_PRODUCT
            grades[store.features.family == store.features.family[source]] = UNRELATED
            return grades
        grades[store.root == store.root[source]] = SAME_ROOT
        grades[store.path == store.path[source]] = SAME_PATH
        # Results show only one hit per family.
        family = store.features.family
        grades[family == family[source]] = SAME_PRODUCT
        return grades


class QueryEncoder:
    """Encodes queries as the server does."""

    def __init__(
        self,
        encoder: TextEncoder,
        photos: VectorTable,
        probabilities: VectorTable,
        has_classes: bool = True,
    ) -> None:
        """Set the text encoder, and the embeddings and category probabilities of photos.

        Without classes, the probabilities are not used.
        """
        self._encoder = encoder
        self._photos = photos
        self._probabilities = probabilities
        self._has_classes = has_classes
        self._row = {name: row for row, name in enumerate(photos.ids)}

    def encode(self, query: SearchQuery) -> QueryVectors:
        """Encode the text and the photo of a query."""
        vectors = QueryVectors()
        if query.words:
            encoding = self._encoder.encode([query.words])
            vectors = QueryVectors.from_words(query.words, encoding)
        if query.image_id is not None:
            row = self._row[query.image_id]
            vectors = vectors._replace(
                photo=self._photos.matrix[row],
                photo_categories=self._probabilities.matrix[row] if self._has_classes else None,
            )
        return vectors
