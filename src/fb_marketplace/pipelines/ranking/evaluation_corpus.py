"""All that searches of a split are put to: its listings as they are served, and who puts them."""

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
    """The listings, their vectors, and what is asked of them.

    Attributes:
        products: the listings.
        splits: where each belongs.
        duplicate_groups: which photos are copies.
        photos: embeddings of photos.
        pictures: vectors of photos by which words find them.
        probabilities: of each photo's categories.
        photo_products: whose each photo is.
        texts: vectors of texts.
        encoder: of what is typed.
        shown: what is shown of each listing.
        facts: what else is known.
        labels: the classes of photos.
    """

    products: pd.DataFrame
    splits: pd.DataFrame
    duplicate_groups: pd.DataFrame
    photos: VectorTable
    pictures: VectorTable
    probabilities: VectorTable
    photo_products: dict[str, str]
    texts: VectorTable
    encoder: TextEncoder
    shown: dict[str, Listing]
    facts: ListingFeatures
    labels: tuple[str, ...]

    def gallery(self, split: str, words: BM25Parameters) -> SearchCorpus:
        """Give the listings of a split alone.

        Raises:
            UserError: there are none, or none has a photo.
        """
        return self._gallery_of(self.splits["split"] == split, f"of the split {split}", words)

    def gallery_without(self, split: str, words: BM25Parameters) -> SearchCorpus:
        """Give the listings of all splits but one.

        Raises:
            UserError: there are none, or none has a photo.
        """
        return self._gallery_of(self.splits["split"] != split, f"outside the split {split}", words)

    def asker(self) -> QueryEncoder:
        """Give who puts searches."""
        return QueryEncoder(self.encoder, self.photos, self.probabilities)

    def _gallery_of(
        self, among: "pd.Series[bool]", said: str, words: BM25Parameters
    ) -> SearchCorpus:
        here = self.splits[among]
        products = self.products[self.products["product_id"].isin(set(here["product_id"]))]
        if not here["image_id"].notna().any():
            raise UserError(
                f"found {len(products):,} listings {said}, none with a photo; expected some: "
                "give more listings, or larger shares under `splits:` in parameters_cleaning.yml"
            )
        return SearchCorpus(
            products,
            self.shown,
            self.facts,
            self.photos,
            self.pictures,
            self.photo_products,
            self.texts,
            words,
        )

    def searches(self, split: str, words: BM25Parameters) -> list[JudgedCandidates]:
        """Put the searches for the listings of a split to that split."""
        asked = make_queries(self.products, self.splits, self.duplicate_groups, split)
        return judge_candidates(self.gallery(split, words), self.asker(), asked, self.labels)


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
    """Read all of it; see :class:`SearchEvaluationData`."""
    pictures = Index.from_bytes(text_to_image_index.read(), text_to_image_index_ids.read())
    return SearchEvaluationData(
        products,
        splits,
        duplicate_groups,
        read_vectors(image_embeddings, "image_id", "embedding"),
        VectorTable(pictures.image_ids, pictures.vectors(np.arange(len(pictures)))),
        read_vectors(image_embeddings, "image_id", "probabilities"),
        dict(zip(image_products["image_id"], image_products["product_id"], strict=True)),
        read_vectors(text_embeddings, "product_id", "meaning"),
        TextEncoder.from_bytes(text_encoder.read(), text_tokenizer.read()),
        read_listings(listings.read()),
        ListingFeatures.from_bytes(listing_features.read()),
        tuple(vision_labels),
    )
