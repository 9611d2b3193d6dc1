"""What a release needs to be searched by words: opened, and held against the rest of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fb_marketplace_serving.facts import Facts
from fb_marketplace_serving.index import Index
from fb_marketplace_serving.manifest import SearchArtifact, TextCanary
from fb_marketplace_serving.places import Places
from fb_marketplace_serving.price_notes import PriceNotes
from fb_marketplace_serving.ranker import Ranker
from fb_marketplace_serving.text_encoder import TextEncoder
from fb_marketplace_serving.word_index import WordIndex

TOLERANCE: Final = 0.01
"""How far the answer to a text may be off: in eight bits, another CPU rounds otherwise."""


@dataclass(frozen=True, slots=True)
class SearchParts:
    """Those parts of a release that words are searched by, of one version.

    Attributes:
        facts: what is known of each listing.
        places: towns, by the names that a buyer gives them.
        words: terms of the listings' texts; document i is the listing at position i.
        encoder: texts to vectors.
        texts: vectors of the listings' texts; row i is of the listing at position i.
        ranker: puts candidates in order.
        price_notes: what alike listings ask, and what is noted of a price.
    """

    facts: Facts
    places: Places
    words: WordIndex
    encoder: TextEncoder
    texts: Index
    ranker: Ranker
    price_notes: PriceNotes

    def disagreement(self, product_ids: Sequence[str], dimension: int) -> str | None:
        """Say where the parts do not fit each other, or the rest of the release, if anywhere.

        Args:
            product_ids: the listings of the release, sorted.
            dimension: size of a photo's embedding.
        """
        expected = tuple(product_ids)
        for name, found in (("facts", self.facts.product_ids), ("texts", self.texts.product_ids)):
            if found != expected:
                return (
                    f"found {name} of {len(found):,} listings; expected those of the same "
                    f"{len(expected):,} as the listings are of, in order"
                )
        if len(self.price_notes) != len(expected):
            return f"found price notes of {len(self.price_notes):,} listings; expected of {len(expected):,}"
        if self.words.documents != len(expected):
            return (
                f"found words of {self.words.documents:,} listings; expected of {len(expected):,}"
            )
        sizes = (self.encoder.dimension, self.texts.dimension)
        if sizes[0] != sizes[1]:
            return f"found meanings of {sizes[0]} numbers (encoder) and {sizes[1]} (texts); expected one"
        if self.encoder.pictured_dimension != dimension:
            return (
                f"found pictures of {self.encoder.pictured_dimension} numbers (text encoder); expected "
                f"{dimension}, as embeddings of photos have"
            )
        return None

    def wrong_canary(self, canaries: Sequence[TextCanary]) -> str | None:
        """Say which text is answered otherwise than by the pipeline, and how, if any is."""
        for canary in canaries:
            found = self.encoder.encode([canary.text])
            for name, told in (("meaning", canary.meaning), ("pictured", canary.pictured)):
                vector = getattr(found, name)[0]
                if vector.shape != (len(told),):
                    return f"canary {canary.text!r}: found {name} of {len(vector)}; expected {len(told)}"
                off = 1 - float(np.dot(vector, np.array(told, np.float32)))
                # Put this way round, not-a-number is far off too.
                if not off <= TOLERANCE:
                    return (
                        f"canary {canary.text!r}: found {name} off by {off:.2g} (cosine); expected at most "
                        f"{TOLERANCE:g}"
                    )
        return None


OPENED_FROM: Final[dict[str, tuple[tuple[SearchArtifact, ...], Callable[..., Any]]]] = {
    "facts": (("facts",), Facts.from_bytes),
    "places": (("places",), Places.from_bytes),
    "words": (("words",), WordIndex.from_bytes),
    "encoder": (("text_encoder", "tokenizer"), TextEncoder.from_bytes),
    "texts": (("texts", "text_ids"), Index.from_bytes),
    "ranker": (("ranker",), Ranker.from_bytes),
    "price_notes": (("price_notes",), PriceNotes.from_bytes),
}
"""Each part, the artifacts that it is in, and what opens their bytes; it raises a ValueError for others."""
