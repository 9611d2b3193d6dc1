"""Brands, learned from the texts of a market: names that belong to some categories.

Nothing is listed in advance. A brand is a word that has a capital letter inside sentences ("Bosch",
"iPhone"), although the word before it is not capitalized, that titles have, and that is much more frequent
in some root categories than in others.
"""

import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from fb_marketplace_serving.search.listings.attributes import MATERIALS
from fb_marketplace_serving.search.query.lexicon import COLOURS, CONDITIONS
from fb_marketplace_serving.search.tokenizer import words

MIN_GROUPS: Final = 3
"""Minimum number of split groups whose descriptions capitalize the word: one seller may do so always."""

MIN_TITLES: Final = 2
MIN_CAPITALIZED: Final = 0.75
"""Minimum share of capitalized occurrences inside sentences."""

MIN_DIVERGENCE: Final = 1.0
"""Minimum divergence, in nats, of the word's root categories from those of all listings."""

MIN_LETTERS: Final = 3
MAX_ACRONYM: Final = 4
"""Maximum length of a word that is a unit or a format, not a brand, if it is always written in capitals."""

_TOKEN: Final = re.compile(r"[^\W_]+|[.!?:;\n•*/()-]")

_NO_BRANDS: Final = frozenset(
    words("""
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july
    august september october november december jan feb mar apr jun jul aug sept oct nov dec english british
    french german italian american scottish irish welsh japanese chinese spanish london england scotland
    wales ireland britain christmas halloween easter paypal facebook whatsapp instagram gumtree ebay google
    ghz mhz gpu cpu sata cds dvds mah kwh mbps gbps
    france germany italy spain europe america china japan
    adam alan alex andrew andy anna anne ben bob chris colin dan daniel dave david emma frank fred gary
    george graham harry henry ian jack james jane jason jean jeff jim joe john jon joseph kate karen keith
    kevin laura lee lisa mark martin mary matt michael mike neil nick oliver paul peter phil rachel richard
    rob robert roger sam sarah simon stephen steve steven stuart sue tim tom tony william
    """)
)
"""Capitalized words that are no brands of goods: days, months, languages, countries, places to trade,
units and given names."""


def learn_brands(products: pd.DataFrame, splits: pd.DataFrame) -> frozenset[str]:
    """Learn the brands of the listings of the training split: words without accents, in lower case.

    Args:
        products: ``product_id``, ``title``, ``description``, ``category_path``, ``town`` and ``county``.
        splits: ``product_id``, ``group`` and ``split``.
    """
    train = splits.loc[splits["split"] == "train", ["product_id", "group"]]
    listed = products.merge(train.drop_duplicates("product_id"), on="product_id")
    root = listed["category_path"].str.split(" / ").str[0]
    shares = {str(name): float(share) for name, share in root.value_counts(normalize=True).items()}
    groups: dict[str, set[str]] = defaultdict(set)
    capitals, small, mixed = Counter[str](), Counter[str](), Counter[str]()
    titles, roots = Counter[str](), defaultdict[str, Counter[str]](Counter)
    rows = zip(
        listed["title"], listed["description"].fillna(""), root, listed["group"], strict=True
    )
    for title, description, category, group in rows:
        tokens = _TOKEN.findall(description)
        for before, token in pairwise(tokens):
            word = next(iter(words(token)), "")
            if token.islower():
                small[word] += 1
            elif token != token.lower() and (before[0].islower() or before[0].isdigit()):
                capitals[word] += 1
                mixed[word] += not token.isupper()
                groups[word].add(group)
        titles.update(set(words(title)))
        for word in {*words(title), *words(description)}:
            roots[word][category] += 1
    excluded = _excluded_words(listed)
    return frozenset(
        word
        for word, members in groups.items()
        if len(members) >= MIN_GROUPS
        and titles[word] >= MIN_TITLES
        and len(word) >= MIN_LETTERS
        and word.isalpha()
        and word not in excluded
        and (mixed[word] or len(word) > MAX_ACRONYM)
        and capitals[word] >= MIN_CAPITALIZED * (capitals[word] + small[word])
        and _divergence(roots[word], shares) >= MIN_DIVERGENCE
    )


def _excluded_words(listed: pd.DataFrame) -> set[str]:
    """Return the words of places, and those that mean a colour, material or condition."""
    places = {*listed["town"].dropna(), *listed["county"].dropna()}
    meanings = {*COLOURS, *MATERIALS, *CONDITIONS}
    return {word for name in places | meanings for word in words(name)} | _NO_BRANDS


def _divergence(counts: Counter[str], shares: dict[str, float]) -> float:
    """Return the Kullback-Leibler divergence of a word's categories from those of all listings."""
    total = counts.total()
    return sum(
        count / total * float(np.log(count / total / shares[name]))
        for name, count in counts.items()
    )
