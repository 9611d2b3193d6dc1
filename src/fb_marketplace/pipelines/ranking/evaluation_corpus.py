"""Data for training and evaluating the ranker: listings and vectors of all splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.relevance import SAME_ROOT
from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace.pipelines.ranking.composed_queries import COMPOSED, make_composed_queries
from fb_marketplace.pipelines.ranking.judged_candidates import JudgedCandidates, judge_candidates
from fb_marketplace.pipelines.ranking.search_corpus import QueryEncoder, SearchCorpus
from fb_marketplace.pipelines.ranking.synthetic_queries import make_queries, sample_queries
from fb_marketplace.skipping import InsufficientDataError, Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import VectorTable, read_vectors
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.listings.gazetteer import Gazetteer
from fb_marketplace_serving.search.listings.listing import Listing, read_listings
from fb_marketplace_serving.search.listings.listing_features import ListingFeatures
from fb_marketplace_serving.search.query.understanding import QueryUnderstanding

NO_VECTORS: Final = VectorTable((), np.empty((0, 1), np.float32))


class JudgedQueries(NamedTuple):
    """Candidates of the queries of a split.

    Attributes:
        all: the candidates of each query.
        sold: without composed queries, and without the listing that each query looks for, as if it had been
            sold; only queries for which a listing is relevant.
    """

    all: list[JudgedCandidates]
    sold: list[JudgedCandidates]


@dataclass(frozen=True, slots=True)
class SearchEvaluationData:
    """Listings, their vectors, and the query encoder.

    Attributes:
        products: the listings.
        splits: split of each photo.
        duplicate_groups: groups of copies and near-duplicates.
        photos: embeddings of photos.
        projected_photos: photos projected into the common space of texts and photos.
        probabilities: category probabilities of photos.
        photo_products: listing of each photo.
        texts: embeddings of texts.
        encoder: the text encoder.
        listings: listing cards by id.
        features: features of listings.
        labels: category labels of photos.
        word_index: the served BM25 index.
        gazetteer: the served gazetteer.
    """

    products: pd.DataFrame
    splits: pd.DataFrame
    duplicate_groups: pd.DataFrame
    photos: VectorTable
    projected_photos: VectorTable
    probabilities: VectorTable
    photo_products: dict[str, str]
    texts: VectorTable
    encoder: TextEncoder
    listings: Mapping[str, Listing]
    features: ListingFeatures
    labels: tuple[str, ...]
    word_index: FileRef
    gazetteer: FileRef

    def corpus(self, split: str, bm25: BM25Parameters) -> SearchCorpus:
        """Build a corpus from the listings of a split.

        Raises:
            InsufficientDataError: the split has no listing.
        """
        return self._corpus(self.splits["split"] == split, f"in the {split} split", bm25)

    def corpus_without(self, split: str, bm25: BM25Parameters) -> SearchCorpus:
        """Build a corpus from the listings of all other splits.

        Raises:
            InsufficientDataError: the other splits have no listing.
        """
        return self._corpus(self.splits["split"] != split, f"outside the {split} split", bm25)

    def query_encoder(self) -> QueryEncoder:
        """Return an encoder of queries."""
        return QueryEncoder(self.encoder, self.photos, self.probabilities, bool(self.labels))

    def query_understanding(self) -> QueryUnderstanding:
        """Return the speller and parser of the server, which know the words of all listings."""
        return QueryUnderstanding(
            self.listings,
            BM25Index.from_bytes(self.word_index.read()),
            Gazetteer.from_bytes(self.gazetteer.read()),
        )

    def judge_queries(
        self,
        split: str,
        bm25: BM25Parameters,
        max_queries: int,
        seed: int,
        max_candidates: int | None = None,
    ) -> JudgedQueries:
        """Search a split with synthetic and composed queries, and grade the candidates.

        Args:
            split: name of the split.
            bm25: parameters of BM25.
            max_queries: if there are more queries, a sample of this size is drawn.
            seed: seed of the sample.
            max_candidates: see :func:`judge_candidates`.
        """
        tables = self.products, self.splits, self.duplicate_groups
        queries = make_queries(*tables, split) + make_composed_queries(*tables, split)
        if len(queries) > max_queries:
            queries = sample_queries(queries, max_queries, seed)
        corpus, encoder = self.corpus(split, bm25), self.query_encoder()
        known_item = [query for query in queries if query.kind != COMPOSED]
        judge = partial(
            judge_candidates, corpus, encoder, labels=self.labels, max_candidates=max_candidates
        )
        sold = judge(known_item, is_sold=True)
        return JudgedQueries(
            judge(queries),
            [result for result in sold if result.available[SAME_ROOT:].any()],
        )

    def _corpus(
        self, mask: "pd.Series[bool]", description: str, bm25: BM25Parameters
    ) -> SearchCorpus:
        members = self.splits[mask]
        products = self.products[self.products["product_id"].isin(set(members["product_id"]))]
        if products.empty:
            raise InsufficientDataError(f"there is no listing {description}")
        return SearchCorpus(
            products,
            self.listings,
            self.features,
            self.photos,
            self.projected_photos,
            self.photo_products,
            self.texts,
            bm25,
        )


def load_evaluation_corpus(
    products: pd.DataFrame,
    splits: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    image_embeddings: Table | Skipped,
    image_products: pd.DataFrame,
    text_to_image_index: FileRef | Skipped,
    text_to_image_index_ids: FileRef | Skipped,
    text_embeddings: Table,
    text_encoder: FileRef,
    text_tokenizer: FileRef,
    dual_text_encoder: FileRef | Skipped,
    dual_tokenizer: FileRef | Skipped,
    listings: FileRef,
    listing_features: FileRef,
    vision_labels: list[str] | Skipped,
    word_index: FileRef,
    gazetteer: FileRef,
) -> SearchEvaluationData:
    """Load the data; see :class:`SearchEvaluationData`. Without photos, their vectors are empty."""
    projected = NO_VECTORS
    if not isinstance(text_to_image_index, Skipped) and not isinstance(
        text_to_image_index_ids, Skipped
    ):
        index = Index.from_bytes(text_to_image_index.read(), text_to_image_index_ids.read())
        projected = VectorTable(tuple(index.image_ids), index.vectors(np.arange(len(index))))
    photos = probabilities = NO_VECTORS
    if not isinstance(image_embeddings, Skipped):
        photos = read_vectors(image_embeddings, "image_id", "embedding")
        probabilities = read_vectors(image_embeddings, "image_id", "probabilities")
    files = text_encoder, text_tokenizer, dual_text_encoder, dual_tokenizer
    return SearchEvaluationData(
        products,
        splits,
        duplicate_groups,
        photos,
        projected,
        probabilities,
        dict(zip(image_products["image_id"], image_products["product_id"], strict=True)),
        read_vectors(text_embeddings, "product_id", "embedding"),
        TextEncoder.from_bytes(*(file.read() for file in files if not isinstance(file, Skipped))),
        read_listings(listings.read()),
        ListingFeatures.from_bytes(listing_features.read()),
        () if isinstance(vision_labels, Skipped) else tuple(vision_labels),
        word_index,
        gazetteer,
    )
