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
        pictures: vectors of photos that texts' pictures are near to; row i is of the index's row i.
        ranker: puts candidates in order.
        price_notes: what alike listings ask, and what is noted of a price.
    """

    facts: Facts
    places: Places
    words: WordIndex
    encoder: TextEncoder
    texts: Index
    pictures: Index
    ranker: Ranker
    price_notes: PriceNotes

    def disagreement(self, product_ids: Sequence[str], image_ids: Sequence[str]) -> str | None:
        """Say where the parts do not fit each other, or the rest of the release, if anywhere.

        Args:
            product_ids: the listings of the release, sorted.
            image_ids: the photos of its index, row by row.
        """
        rows = (
            ("facts", self.facts.product_ids, product_ids),
            ("texts", self.texts.product_ids, product_ids),
            ("pictures", self.pictures.image_ids, image_ids),
        )
        for name, found, expected in rows:
            if found != tuple(expected):
                return (
                    f"found {name} of {len(found):,} ids; expected the same {len(expected):,} as the rest "
                    "of the release is of, row by row"
                )
        counts = (
            ("words", self.words.documents, len(product_ids), "listings"),
            ("price notes", len(self.price_notes), len(product_ids), "listings"),
            ("meanings", self.encoder.dimension, self.texts.dimension, "numbers"),
            ("pictures", self.encoder.pictured_dimension, self.pictures.dimension, "numbers"),
        )
        for what, count, wanted, of in counts:
            if count != wanted:
                return f"found {what} of {count:,} {of}; expected {wanted:,}"
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
    "pictures": (("pictures", "picture_ids"), Index.from_bytes),
    "ranker": (("ranker",), Ranker.from_bytes),
    "price_notes": (("price_notes",), PriceNotes.from_bytes),
}
"""Each part, the artifacts that it is in, and what opens their bytes; it raises a ValueError for others."""
