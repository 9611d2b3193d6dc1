"""All that searches of a split are put to: its listings as they are served, and who puts them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.text import WordParameters
from fb_marketplace.pipelines.ranking.judged_candidates import Candidates, candidates_of
from fb_marketplace.pipelines.ranking.search_corpus import Asker, SearchGallery
from fb_marketplace.pipelines.ranking.synthetic_queries import searches_of
from fb_marketplace.storage.file_handles import StoredFile
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import Vectors, vectors_of
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.search.listing_features import Facts
from fb_marketplace_serving.search.listings import Listing, read_listings


@dataclass(frozen=True, slots=True)
class Market:
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
    photos: Vectors
    pictures: Vectors
    probabilities: Vectors
    photo_products: dict[str, str]
    texts: Vectors
    encoder: TextEncoder
    shown: dict[str, Listing]
    facts: Facts
    labels: tuple[str, ...]

    def gallery(self, split: str, words: WordParameters) -> SearchGallery:
        """Give the listings of a split alone.

        Raises:
            UserError: there are none, or none has a photo.
        """
        return self._gallery_of(self.splits["split"] == split, f"of the split {split}", words)

    def gallery_without(self, split: str, words: WordParameters) -> SearchGallery:
        """Give the listings of all splits but one.

        Raises:
            UserError: there are none, or none has a photo.
        """
        return self._gallery_of(self.splits["split"] != split, f"outside the split {split}", words)

    def asker(self) -> Asker:
        """Give who puts searches."""
        return Asker(self.encoder, self.photos, self.probabilities)

    def _gallery_of(
        self, among: "pd.Series[bool]", said: str, words: WordParameters
    ) -> SearchGallery:
        here = self.splits[among]
        products = self.products[self.products["product_id"].isin(set(here["product_id"]))]
        if not here["image_id"].notna().any():
            raise UserError(
                f"found {len(products):,} listings {said}, none with a photo; expected some: "
                "give more listings, or larger shares under `splits:` in parameters_cleaning.yml"
            )
        return SearchGallery(
            products,
            self.shown,
            self.facts,
            self.photos,
            self.pictures,
            self.photo_products,
            self.texts,
            words,
        )

    def searches(self, split: str, words: WordParameters) -> list[Candidates]:
        """Put the searches for the listings of a split to that split."""
        asked = searches_of(self.products, self.splits, self.duplicate_groups, split)
        return candidates_of(self.gallery(split, words), self.asker(), asked, self.labels)


def open_market(
    products: pd.DataFrame,
    splits: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    image_embeddings: Table,
    image_products: pd.DataFrame,
    picture_index: StoredFile,
    picture_index_ids: StoredFile,
    text_embeddings: Table,
    text_encoder: StoredFile,
    text_tokenizer: StoredFile,
    listings: StoredFile,
    listing_facts: StoredFile,
    vision_labels: list[str],
) -> Market:
    """Read all of it; see :class:`Market`."""
    pictures = Index.from_bytes(picture_index.read(), picture_index_ids.read())
    return Market(
        products,
        splits,
        duplicate_groups,
        vectors_of(image_embeddings, "image_id", "embedding"),
        Vectors(pictures.image_ids, pictures.vectors(np.arange(len(pictures)))),
        vectors_of(image_embeddings, "image_id", "probabilities"),
        dict(zip(image_products["image_id"], image_products["product_id"], strict=True)),
        vectors_of(text_embeddings, "product_id", "meaning"),
        TextEncoder.from_bytes(text_encoder.read(), text_tokenizer.read()),
        read_listings(listings.read()),
        Facts.from_bytes(listing_facts.read()),
        tuple(vision_labels),
    )
