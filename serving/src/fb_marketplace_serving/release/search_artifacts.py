"""The artifacts of text search: loaded, and checked against each other and the rest of the release."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import (
    TEXT_EMBEDDING,
    TEXT_TO_IMAGE_EMBEDDING,
    TextEncoder,
)
from fb_marketplace_serving.release.manifest import DUAL_ENCODER, SearchArtifact, TextCanary
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.listings.gazetteer import Gazetteer
from fb_marketplace_serving.search.listings.listing_features import ListingFeatures
from fb_marketplace_serving.search.listings.price_insights import PriceInsightTable
from fb_marketplace_serving.search.ranking.ranker import Ranker
from fb_marketplace_serving.search.ranking.relevance import RelevanceModel

TOLERANCE: Final = 0.01
"""Maximum cosine distance from a text canary's embeddings: int8 arithmetic differs between CPUs."""


class ArtifactMismatch(NamedTuple):
    """Artifacts that do not match the rest of the release.

    Attributes:
        artifacts: the artifacts that may be wrong.
        message: found and expected values.
    """

    artifacts: tuple[SearchArtifact, ...]
    message: str


@dataclass(frozen=True, slots=True)
class SearchArtifacts:
    """The loaded artifacts of text search, of one release.

    Attributes:
        listing_features: properties of listings.
        gazetteer: resolves place names.
        bm25: terms of the listings' texts; document i is the listing at position i.
        text_encoder: texts to embeddings.
        text_index: embeddings of the listings' texts; row i is the listing at position i.
        text_to_image_index: photos in the space that texts are projected into; rows as in the image index.
            None if there is no such space.
        ranker: sorts candidates; None if there is none: they are then sorted by fused rank.
        relevance_model: predicts which listings are relevant; None if there is none: all candidates are
            then results.
        price_insights: price ranges of comparable listings, and notes; None if there are none.
    """

    listing_features: ListingFeatures
    gazetteer: Gazetteer
    bm25: BM25Index
    text_encoder: TextEncoder
    text_index: Index
    text_to_image_index: Index | None = None
    ranker: Ranker | None = None
    relevance_model: RelevanceModel | None = None
    price_insights: PriceInsightTable | None = None

    def find_mismatch(
        self, product_ids: Sequence[str], image_ids: Sequence[str]
    ) -> ArtifactMismatch | None:
        """Check that the artifacts match each other and the rest of the release.

        Args:
            product_ids: listings of the release, sorted.
            image_ids: photos of its image index, row by row.

        Returns:
            The first mismatch, or None.
        """
        text, text_to_image, insights = (
            self.text_index,
            self.text_to_image_index,
            self.price_insights,
        )
        encoder = self.text_encoder
        rows: list[tuple[tuple[SearchArtifact, ...], Sequence[str], Sequence[str], str]] = [
            (
                ("listing_features",),
                self.listing_features.product_ids,
                product_ids,
                "listings",
            ),
            (("text_index", "text_index_ids"), text.product_ids, product_ids, "listings"),
        ]
        counts: list[tuple[tuple[SearchArtifact, ...], int, int, str]] = [
            (("word_index",), self.bm25.documents, len(product_ids), "documents"),
            (
                ("text_encoder", "text_index"),
                encoder.dimension,
                text.dimension,
                f"dimensions of {TEXT_EMBEDDING}",
            ),
        ]
        if text_to_image is not None:
            files: tuple[SearchArtifact, ...] = ("text_to_image_index", "text_to_image_index_ids")
            rows.append((files, text_to_image.image_ids, image_ids, "photos"))
            counts.append(
                (
                    (
                        "dual_text_encoder" if encoder.is_dual else "text_encoder",
                        "text_to_image_index",
                    ),
                    encoder.text_to_image_dimension,
                    text_to_image.dimension,
                    f"dimensions of {TEXT_TO_IMAGE_EMBEDDING}",
                )
            )
        if insights is not None:
            rows.append((("price_insights",), insights.product_ids, product_ids, "listings"))
        for artifacts, ids, expected_ids, unit in rows:
            if ids != expected_ids:
                return ArtifactMismatch(
                    artifacts,
                    f"found {len(ids):,} {unit}; expected the {len(expected_ids):,} of the release, in the "
                    "same order",
                )
        for artifacts, count, expected, unit in counts:
            if count != expected:
                return ArtifactMismatch(artifacts, f"found {count:,} {unit}; expected {expected:,}")
        return None

    def check_canaries(self, canaries: Sequence[TextCanary]) -> ArtifactMismatch | None:
        """Encode the text canaries and return the first mismatch, or None."""
        files: tuple[SearchArtifact, ...] = ("text_encoder", "text_tokenizer")
        for canary in canaries:
            encoding = self.text_encoder.encode([canary.text])
            for name, artifacts in (
                (TEXT_EMBEDDING, files),
                (TEXT_TO_IMAGE_EMBEDDING, DUAL_ENCODER if self.text_encoder.is_dual else files),
            ):
                vector: NDArray[np.float32] = getattr(encoding, name)[0]
                difference = _difference(name, vector, getattr(canary, name))
                if difference:
                    return ArtifactMismatch(artifacts, f"canary {canary.text!r}: {difference}")
        return None


def _difference(name: str, vector: NDArray[np.float32], expected: Sequence[float]) -> str | None:
    if len(vector) != len(expected):
        return f"found {name} of dimension {len(vector)}; expected {len(expected)}"
    if not len(vector):
        return None  # There is no space of texts and photos.
    # Absolute: the dot product exceeds one if a vector is longer than one.
    distance = abs(1 - float(np.dot(vector, np.array(expected, np.float32))))
    # "not <=" so that NaN fails too.
    if not distance <= TOLERANCE:
        return f"found {name} off by {distance:.2g} (cosine); expected at most {TOLERANCE:g}"
    return None


Loader = tuple[tuple[SearchArtifact, ...], Callable[..., Any]]
"""Artifacts, and the function that loads them. It raises ValueError."""

TABLES: Final[dict[str, Loader]] = {
    "listing_features": (("listing_features",), ListingFeatures.from_bytes),
    "bm25": (("word_index",), BM25Index.from_bytes),
    "text_index": (("text_index", "text_index_ids"), Index.from_bytes),
    "text_to_image_index": (
        ("text_to_image_index", "text_to_image_index_ids"),
        Index.from_bytes,
    ),
    "price_insights": (("price_insights",), PriceInsightTable.from_bytes),
}
"""Fields of :class:`SearchArtifacts` that grow with the listings. Their loaders take private files, and a
folder for further ones."""

MODELS: Final[dict[str, Loader]] = {
    "gazetteer": (("gazetteer",), Gazetteer.from_bytes),
    "text_encoder": (
        ("text_encoder", "text_tokenizer", *DUAL_ENCODER),
        TextEncoder.from_bytes,
    ),
    "ranker": (("ranker",), Ranker.from_bytes),
    "relevance_model": (("relevance_model",), RelevanceModel.from_bytes),
}
"""The other fields. Loaded from bytes. Most releases share them with the previous release."""
