"""Vocabulary of a release: the words, categories, towns and currencies of its listings."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple, Self

from fb_marketplace_serving.search.listings.listing import Listing, ListingTable
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
    def from_listings(cls, listings: Collection[Listing] | Mapping[str, Listing]) -> Self:
        """Count the words, categories and towns of listings."""
        table = ListingTable.from_listings(listings)
        counts: Counter[str] = Counter()
        for title, count in table.counts("title").items():
            for word in words(title):
                counts[word] += count
        towns = table.counts("town")
        towns.pop("", None)
        return cls(
            len(table),
            counts,
            table.counts("category_path"),
            towns,
            frozenset(table.counts("currency")),
        )
