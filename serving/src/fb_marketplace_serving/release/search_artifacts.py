"""What a release needs to be searched by words: opened, and held against the rest of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import MEANING, PICTURED, TextEncoder
from fb_marketplace_serving.release.manifest import SearchArtifact, TextCanary
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.gazetteer import Gazetteer
from fb_marketplace_serving.search.listing_features import ListingFeatures
from fb_marketplace_serving.search.price_insights import PriceInsightTable
from fb_marketplace_serving.search.ranker import Ranker

TOLERANCE: Final = 0.01
"""How far the answer to a text may be off: in eight bits, another CPU rounds otherwise."""


class ArtifactMismatch(NamedTuple):
    """What does not fit.

    Attributes:
        artifacts: those that it may lie at.
        said: what was found and what was expected.
    """

    artifacts: tuple[SearchArtifact, ...]
    said: str


@dataclass(frozen=True, slots=True)
class SearchArtifacts:
    """Those parts of a release that words are searched by, of one version.

    Attributes:
        facts: what is known of each listing.
        places: towns, by the names that a buyer gives them.
        words: terms of the listings' texts; document i is the listing at position i.
        encoder: texts to vectors.
        texts: vectors of the listings' texts; row i is of the listing at position i.
        pictures: vectors of photos that texts' pictures are near to; row i is of the index's row i.
        ranker: puts candidates in order.
        price_notes: what alike listings ask, and what is noted of a price.
    """

    facts: ListingFeatures
    places: Gazetteer
    words: BM25Index
    encoder: TextEncoder
    texts: Index
    pictures: Index
    ranker: Ranker
    price_notes: PriceInsightTable

    def disagreement(
        self, product_ids: Sequence[str], image_ids: Sequence[str]
    ) -> ArtifactMismatch | None:
        """Say where the parts do not fit each other, or the rest of the release, if anywhere.

        Args:
            product_ids: the listings of the release, sorted.
            image_ids: the photos of its index, row by row.
        """
        rows: tuple[tuple[tuple[SearchArtifact, ...], Sequence[str], Sequence[str], str], ...] = (
            (("facts",), self.facts.product_ids, product_ids, "listings"),
            (("texts", "text_ids"), self.texts.product_ids, product_ids, "listings"),
            (("pictures", "picture_ids"), self.pictures.image_ids, image_ids, "photos"),
            (("price_notes",), self.price_notes.product_ids, product_ids, "listings"),
        )
        for artifacts, found, expected, of in rows:
            if found != tuple(expected):
                return ArtifactMismatch(
                    artifacts,
                    f"found {len(found):,} {of}; expected the {len(expected):,} of the rest of it, "
                    "in their order",
                )
        counts: tuple[tuple[tuple[SearchArtifact, ...], int, int, str], ...] = (
            (("words",), self.words.documents, len(product_ids), "documents"),
            (("text_encoder", "texts"), self.encoder.dimension, self.texts.dimension, MEANING),
            (
                ("text_encoder", "pictures"),
                self.encoder.pictured_dimension,
                self.pictures.dimension,
                PICTURED,
            ),
        )
        for artifacts, count, wanted, of in counts:
            if count != wanted:
                told = of if of == "documents" else f"numbers of {of}"
                return ArtifactMismatch(artifacts, f"found {count:,} {told}; expected {wanted:,}")
        return None

    def wrong_canary(self, canaries: Sequence[TextCanary]) -> ArtifactMismatch | None:
        """Say which text is answered otherwise than by the pipeline, and how, if any is."""
        for canary in canaries:
            found = self.encoder.encode([canary.text])
            said = _off(MEANING, found.meaning[0], canary.meaning) or _off(
                PICTURED, found.pictured[0], canary.pictured
            )
            if said:
                return ArtifactMismatch(
                    ("text_encoder", "tokenizer"), f"canary {canary.text!r}: {said}"
                )
        return None


def _off(name: str, found: NDArray[np.float32], told: Sequence[float]) -> str | None:
    if len(found) != len(told):
        return f"found {name} of {len(found)} numbers; expected {len(told)}"
    # Of vectors that are longer than one the product may be more than one, and they are off too.
    off = abs(1 - float(np.dot(found, np.array(told, np.float32))))
    # Put this way round, not-a-number is far off too.
    if not off <= TOLERANCE:
        return f"found {name} off by {off:.2g} (cosine); expected at most {TOLERANCE:g}"
    return None


OPENED_FROM: Final[dict[str, tuple[tuple[SearchArtifact, ...], Callable[..., Any]]]] = {
    "facts": (("facts",), ListingFeatures.from_bytes),
    "places": (("places",), Gazetteer.from_bytes),
    "words": (("words",), BM25Index.from_bytes),
    "encoder": (("text_encoder", "tokenizer"), TextEncoder.from_bytes),
    "texts": (("texts", "text_ids"), Index.from_bytes),
    "pictures": (("pictures", "picture_ids"), Index.from_bytes),
    "ranker": (("ranker",), Ranker.from_bytes),
    "price_notes": (("price_notes",), PriceInsightTable.from_bytes),
}
"""Each part, the artifacts that it is in, and what opens their bytes; it raises a ValueError for others."""
