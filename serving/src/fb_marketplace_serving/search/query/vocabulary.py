"""Vocabulary of a release: the words, categories, towns and currencies of its listings."""

from collections import Counter
from collections.abc import Collection
from itertools import chain
from typing import NamedTuple, Self

from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.tokenizer import words


class Vocabulary(NamedTuple):
    """Counts of listings.

    Attributes:
        listings: number of listings.
        words: occurrences of each word in titles, in the form of :func:`.tokenizer.words`.
        paths: listings by category path.
        towns: listings by town.
        currencies: currencies of the listings.
    """

    listings: int
    words: dict[str, int]
    paths: dict[str, int]
    towns: dict[str, int]
    currencies: frozenset[str]

    @classmethod
    def of(cls, listings: Collection[Listing]) -> Self:
        """Count the words, categories and towns of listings."""
        return cls(
            len(listings),
            Counter(chain.from_iterable(words(listing.title) for listing in listings)),
            Counter(listing.category_path for listing in listings),
            Counter(listing.town for listing in listings if listing.town),
            frozenset(listing.currency for listing in listings),
        )
