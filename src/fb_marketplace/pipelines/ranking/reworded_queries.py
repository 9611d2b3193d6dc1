"""Queries in other words than the title, without a list of synonyms."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import pandas as pd

from fb_marketplace.evaluation.query_text import content_words, shorten_title
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace_serving.search.tokenizer import terms, words

DESCRIPTION_WORDS: Final = 3


def reworded_queries(
    products: pd.DataFrame, members: Iterable[tuple[str, str]]
) -> Iterator[SearchQuery]:
    """Build queries for listings.

    =============  =================================================================================
    kind           query
    =============  =================================================================================
    respaced       the first three words of the title, with a word split in two or two words joined, if
                   the new words occur in titles
    description    the three words of the description that are rarest in the market, but in two listings
                   or more, and whose stems are not in the title
    =============  =================================================================================

    Args:
        products: all listings: ``product_id``, ``title`` and ``description``.
        members: id and group of the listings to search for.
    """
    titles = dict(zip(products["product_id"], products["title"], strict=True))
    descriptions = dict(zip(products["product_id"], products["description"], strict=True))
    in_titles = Counter(word for title in titles.values() for word in set(words(title)))
    in_texts = Counter(
        word for text in descriptions.values() for word in set(content_words(text or ""))
    )
    for product, group in members:
        title = titles.get(product, "")
        respaced = respace(shorten_title(title).split(), in_titles)
        if respaced:
            yield SearchQuery("respaced", product, group, respaced, None, frozenset())
        known = set(terms(title))
        rare = sorted(
            (in_texts[word], word)
            for word in set(content_words(descriptions.get(product) or ""))
            if in_texts[word] > 1 and len(word) > 2 and not known & set(terms(word))
        )[:DESCRIPTION_WORDS]
        if len(rare) == DESCRIPTION_WORDS:
            text = " ".join(word for _, word in rare)
            yield SearchQuery("description", product, group, text, None, frozenset())


def respace(parts: list[str], in_titles: Counter[str]) -> str | None:
    """Split a word in two, or join two words, if the new words occur in titles; None if none do."""
    for place, word in enumerate(parts):
        cuts = [
            (min(in_titles[word[:cut]], in_titles[word[cut:]]), cut)
            for cut in range(3, len(word) - 2)
        ]
        support, cut = max(cuts, default=(0, 0))
        if support > 1:
            return " ".join([*parts[:place], word[:cut], word[cut:], *parts[place + 1 :]])
    for place, (first, second) in enumerate(itertools.pairwise(parts)):
        if in_titles[first + second] and min(len(first), len(second)) > 1:
            return " ".join([*parts[:place], first + second, *parts[place + 2 :]])
    return None
