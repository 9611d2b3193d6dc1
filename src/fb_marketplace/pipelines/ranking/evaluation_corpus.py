"""Data for training and evaluating the ranker: listings and vectors of all splits."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace.pipelines.ranking.judged_candidates import JudgedCandidates, judge_candidates
from fb_marketplace.pipelines.ranking.search_corpus import QueryEncoder, SearchCorpus
from fb_marketplace.pipelines.ranking.synthetic_queries import make_queries
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import VectorTable, read_vectors
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.search.listing_features import ListingFeatures
from fb_marketplace_serving.search.listings import Listing, read_listings


@dataclass(frozen=True, slots=True)
class SearchEvaluationData:
    """Listings, their vectors, and the query encoder.

    Attributes:
        products: the listings.
        splits: split of each photo.
        duplicate_groups: groups of copies and near duplicates.
        photos: embeddings of photos.
        projected_photos: photos projected into the common space of texts and photos.
        probabilities: category probabilities of photos.
        photo_products: listing of each photo.
        texts: embeddings of texts.
        encoder: the text encoder.
        listings: listing cards by id.
        features: features of listings.
        labels: category labels of photos.
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
    listings: dict[str, Listing]
    features: ListingFeatures
    labels: tuple[str, ...]

    def corpus(self, split: str, bm25: BM25Parameters) -> SearchCorpus:
        """Build a corpus from the listings of a split.

        Raises:
            UserError: the split has no listing with a photo.
        """
        return self._corpus(self.splits["split"] == split, f"in the {split} split", bm25)

    def corpus_without(self, split: str, bm25: BM25Parameters) -> SearchCorpus:
        """Build a corpus from the listings of all other splits.

        Raises:
            UserError: the other splits have no listing with a photo.
        """
        return self._corpus(self.splits["split"] != split, f"outside the {split} split", bm25)

    def query_encoder(self) -> QueryEncoder:
        """Return an encoder of queries."""
        return QueryEncoder(self.encoder, self.photos, self.probabilities)

    def judge_queries(self, split: str, bm25: BM25Parameters) -> list[JudgedCandidates]:
        """Search a split with synthetic queries for its listings, and grade the candidates."""
        queries = make_queries(self.products, self.splits, self.duplicate_groups, split)
        corpus = self.corpus(split, bm25)
        return judge_candidates(corpus, self.query_encoder(), queries, self.labels)

    def _corpus(
        self, mask: "pd.Series[bool]", description: str, bm25: BM25Parameters
    ) -> SearchCorpus:
        members = self.splits[mask]
        products = self.products[self.products["product_id"].isin(set(members["product_id"]))]
        if not members["image_id"].notna().any():
            raise UserError(
                f"None of the {len(products):,} listings {description} has a photo. Add listings, or "
                "increase the shares under `splits` in parameters_cleaning.yml."
            )
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
    image_embeddings: Table,
    image_products: pd.DataFrame,
    text_to_image_index: FileRef,
    text_to_image_index_ids: FileRef,
    text_embeddings: Table,
    text_encoder: FileRef,
    text_tokenizer: FileRef,
    listings: FileRef,
    listing_features: FileRef,
    vision_labels: list[str],
) -> SearchEvaluationData:
    """Load the data; see :class:`SearchEvaluationData`."""
    projected = Index.from_bytes(text_to_image_index.read(), text_to_image_index_ids.read())
    return SearchEvaluationData(
        products,
        splits,
        duplicate_groups,
        read_vectors(image_embeddings, "image_id", "embedding"),
        VectorTable(projected.image_ids, projected.vectors(np.arange(len(projected)))),
        read_vectors(image_embeddings, "image_id", "probabilities"),
        dict(zip(image_products["image_id"], image_products["product_id"], strict=True)),
        read_vectors(text_embeddings, "product_id", "embedding"),
        TextEncoder.from_bytes(text_encoder.read(), text_tokenizer.read()),
        read_listings(listings.read()),
        ListingFeatures.from_bytes(listing_features.read()),
        tuple(vision_labels),
    )
