"""The listings of one split as a server would search them, so that what is measured is what is served."""

import numpy as np
import pandas as pd

from fb_marketplace.ann.bm25 import build_bm25_index
from fb_marketplace.evaluation.relevance import SAME_PATH, SAME_PRODUCT, SAME_ROOT, Grades
from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace.storage.vectors import VectorTable
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.search.candidates import QueryVectors, SearchIndexes
from fb_marketplace_serving.search.listing_features import ListingFeatures
from fb_marketplace_serving.search.listing_store import ListingStore, Mask
from fb_marketplace_serving.search.listings import Listing


class SearchCorpus:
    """The listings of a split, and what is asked of them.

    Attributes:
        searched: as it is served, of these listings alone.
    """

    def __init__(
        self,
        products: pd.DataFrame,
        listings: dict[str, Listing],
        facts: ListingFeatures,
        photos: VectorTable,
        pictures: VectorTable,
        photo_products: dict[str, str],
        texts: VectorTable,
        parameters: BM25Parameters,
    ) -> None:
        """Index listings.

        Args:
            products: the listings: ``product_id``, ``title``, ``description``.
            listings: what is shown of them, by id.
            facts: what else is known, of all listings or more.
            photos: embeddings of all photos.
            pictures: vectors of all photos by which words find them.
            photo_products: whose each photo is.
            texts: vectors of all texts.
            parameters: of the word index.
        """
        ordered = products.sort_values("product_id")
        ids = ordered["product_id"].to_list()
        there = set(ids)
        images = [name for name in photos.ids if photo_products.get(name) in there]
        index = Index.build_flat(
            photos.of(images), images, [photo_products[name] for name in images]
        )
        catalogue = ListingStore(index, listings, facts.select(ids))
        self.searched = SearchIndexes(
            catalogue,
            index,
            Index.build_flat(pictures.of(images), index.image_ids, index.product_ids),
            Index.build_flat(texts.of(ids), ids, ids),
            build_bm25_index(ordered, parameters),
        )
        self._row = {name: row for row, name in enumerate(index.image_ids)}

    def rows_without(self, hidden: frozenset[str]) -> Mask | None:
        """Say which photos may be found where some are hidden: bool, (rows,)."""
        if not hidden:
            return None
        kept = np.ones(len(self.searched.image), np.bool_)
        kept[[self._row[name] for name in hidden if name in self._row]] = False
        return kept

    def grades(self, asked: SearchQuery) -> Grades:
        """Grade every listing for a search: int8, (listings,)."""
        catalogue = self.searched.listings
        at = catalogue.position(asked.product_id)
        grades = np.zeros(len(catalogue), np.int8)
        grades[catalogue.root == catalogue.root[at]] = SAME_ROOT
        grades[catalogue.path == catalogue.path[at]] = SAME_PATH
        # What shows the same thing is folded into one hit.
        family = catalogue.features.family
        grades[family == family[at]] = SAME_PRODUCT
        return grades


class QueryEncoder:
    """Puts searches as a server would put them."""

    def __init__(
        self, encoder: TextEncoder, photos: VectorTable, probabilities: VectorTable
    ) -> None:
        """Take the encoder of texts, and what the encoder of photos made of each."""
        self._encoder = encoder
        self._photos = photos
        self._probabilities = probabilities
        self._place = {name: row for row, name in enumerate(photos.ids)}

    def query(self, asked: SearchQuery) -> QueryVectors:
        """Put a search."""
        found = QueryVectors()
        if asked.words:
            encoding = self._encoder.encode([asked.words])
            found = found._replace(
                words=asked.words, meaning=encoding.meaning[0], pictured=encoding.pictured[0]
            )
        if asked.image_id is not None:
            row = self._place[asked.image_id]
            found = found._replace(
                photo=self._photos.matrix[row],
                photo_categories=self._probabilities.matrix[row],
            )
        return found
