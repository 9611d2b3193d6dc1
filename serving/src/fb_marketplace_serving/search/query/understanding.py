"""Understanding of queries: spelling, meaning and completion, by the words of one release."""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import numpy as np

from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.listings.filters import is_under
from fb_marketplace_serving.search.listings.gazetteer import Gazetteer, UnknownPlaceError
from fb_marketplace_serving.search.listings.listing import Listing, ListingTable
from fb_marketplace_serving.search.query.completion import Completer, Completion
from fb_marketplace_serving.search.query.parser import (
    FindTown,
    ParsedQuery,
    category_names,
    parse_query,
)
from fb_marketplace_serving.search.query.spelling import Speller
from fb_marketplace_serving.search.query.vocabulary import Vocabulary
from fb_marketplace_serving.storage.columns import IdColumn
from fb_marketplace_serving.storage.private_file import release_pages

MIN_CATEGORY_SHARE: Final = 0.5
"""A name is a category if more than this share of the listings with its words are in the category."""


class UnderstoodQuery(NamedTuple):
    """A query that was understood.

    Attributes:
        text: the query, with corrections.
        parsed: its meaning.
        suggestion: the query with corrections that were not made; None if there are none.
    """

    text: str
    parsed: ParsedQuery
    suggestion: str | None


class QueryUnderstanding:
    """Understands and completes queries. Thread-safe."""

    def __init__(
        self,
        listings: Collection[Listing] | Mapping[str, Listing],
        bm25: BM25Index,
        gazetteer: Gazetteer,
    ) -> None:
        """Collect the words of a release.

        Args:
            listings: the listings.
            bm25: their terms.
            gazetteer: the towns.
        """
        table = ListingTable.from_listings(listings)
        vocabulary = Vocabulary.from_listings(table)
        release_pages()  # All listings were read.
        self._gazetteer = gazetteer
        self._currencies = vocabulary.currencies
        self._categories = _clear_categories(table, vocabulary, bm25)
        release_pages()
        self._speller = Speller(vocabulary, bm25, gazetteer)
        self._completer = Completer(vocabulary, bm25, gazetteer)

    def understand(
        self, text: str, ignored: frozenset[str] = frozenset(), has_place: bool = False
    ) -> UnderstoodQuery:
        """Correct and parse a query.

        Args:
            text: the query.
            ignored: kinds of phrases to leave among the words, and "spelling" to correct nothing.
            has_place: whether a place is chosen already: only "near me" is a place then.
        """
        find_town = _no_town if has_place else self._find_town
        parsed = self._parse(text, find_town, ignored)
        if "spelling" in ignored or not text:
            return UnderstoodQuery(text, parsed, None)
        skipped = [(phrase.start, phrase.end) for phrase in parsed.phrases]
        corrected, suggestion = self._speller.correct(text, skipped)
        if corrected != text:
            parsed = self._parse(corrected, find_town, ignored)
        return UnderstoodQuery(corrected, parsed, suggestion)

    def complete(self, text: str, limit: int) -> tuple[Completion, ...]:
        """Return completions of a query; see :meth:`Completer.complete`."""
        return self._completer.complete(text, limit)

    def _parse(self, text: str, find_town: FindTown, ignored: frozenset[str]) -> ParsedQuery:
        return parse_query(text, find_town, self._categories, self._currencies, ignored)

    def _find_town(self, text: str) -> str | None:
        """Return the display name of a town, or the text if the name alone would be another town."""
        town, _, county = text.partition(",")
        resolved = self._gazetteer.resolve(town, county)
        if resolved is None:
            return None
        if county and (resolved.level == "county" or not self._gazetteer.has_name(county)):
            return None
        try:
            if self._gazetteer.find(resolved.place.name) == resolved.place:
                return resolved.place.name
        except UnknownPlaceError:
            pass
        return text


def _no_town(_: str) -> None:
    return None


def _clear_categories(
    listings: ListingTable, vocabulary: Vocabulary, bm25: BM25Index
) -> dict[tuple[str, ...], str]:
    """Return the category of each name, if most listings with the words of the name are in it.

    "Box" is no category, although "Boxing" has the same stem.
    """
    labels = {path: number for number, path in enumerate(vocabulary.paths)}
    path_of_listing = IdColumn.from_ids(list(labels)).find_all(
        IdColumn(listings.column("category_path"))
    )
    categories = {}
    for name, paths in category_names(vocabulary.paths).items():
        documents = bm25.documents_with(name[0])
        for term in name[1:]:
            documents = np.intersect1d(documents, bm25.documents_with(term))
        counts = np.bincount(path_of_listing[documents], minlength=len(labels))
        for path in paths:
            below = [number for label, number in labels.items() if is_under(label, path)]
            if counts[below].sum() > MIN_CATEGORY_SHARE * counts.sum():
                categories[name] = path
                break
    return categories
