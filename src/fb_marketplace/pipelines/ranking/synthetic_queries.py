"""Searches that a buyer might make for a listing that is there, by rules.

=============  ====================================================================================
kind           what is asked
=============  ====================================================================================
title          the listing's title
short          the first three of its words that are neither common nor hold a digit
paraphrase     the title said otherwise: common words and those with a digit left out, each word of
               ``SYNONYMS`` put in another's place, the order turned round; of listings whose title
               holds one of those words
photo          a photo of the listing, which then is not there to be found, nor its copies
both           such a photo, and the short words
=============  ====================================================================================

A photo is asked of listings that another photo is left of.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.query_text import content_words, shorten_title

KINDS: Final = ("title", "short", "paraphrase", "photo", "both")
TRAINING_KINDS: Final = ("title", "short", "photo", "both")
"""The kinds that a ranker is shown; on the others it is measured alone."""

_SYNONYM_GROUPS: Final = (
    ("sofa", "couch", "settee"),
    ("wardrobe", "closet"),
    ("cot", "crib"),
    ("pram", "pushchair", "stroller", "buggy"),
    ("bike", "bicycle", "cycle"),
    ("fridge", "refrigerator"),
    ("tv", "television", "telly"),
    ("phone", "mobile", "handset"),
    ("laptop", "notebook"),
    ("trainers", "sneakers"),
    ("jumper", "sweater", "pullover"),
    ("trousers", "pants"),
    ("coat", "jacket"),
    ("bag", "handbag", "purse"),
    ("boots", "shoes"),
    ("toys", "playthings"),
    ("table", "desk"),
    ("rug", "carpet", "mat"),
    ("curtains", "drapes"),
    ("lamp", "light"),
    ("cooker", "stove", "oven"),
    ("hoover", "vacuum"),
    ("tap", "faucet"),
    ("cupboard", "cabinet"),
    ("chest", "trunk"),
    ("drawers", "dresser"),
    ("mirror", "looking glass"),
    ("painting", "picture"),
    ("mower", "lawnmower"),
    ("drill", "driver"),
    ("spade", "shovel"),
    ("car", "vehicle"),
    ("baby", "infant"),
    ("kids", "children"),
    ("mens", "gents"),
    ("ladies", "womens"),
    ("women", "ladies"),
    ("console", "system"),
    ("speaker", "loudspeaker"),
    ("speakers", "loudspeakers"),
    ("headphones", "earphones"),
    ("camera", "cam"),
    ("printer", "printing machine"),
    ("keyboard", "keys"),
    ("piano", "keyboard"),
    ("ring", "band"),
    ("necklace", "pendant"),
    ("watch", "timepiece"),
    ("bed", "bedstead"),
    ("mattress", "bedding"),
    ("chair", "seat"),
    ("stool", "seat"),
    ("bookcase", "bookshelf", "shelves"),
    ("wheelchair", "mobility chair"),
    ("vintage", "retro", "antique"),
    ("large", "big"),
    ("little", "tiny"),
)

SYNONYMS: Final = {
    word: alike[(place + 1) % len(alike)]
    for alike in reversed(_SYNONYM_GROUPS)
    for place, word in enumerate(alike)
}
"""What is said in place of a word: the next of those that mean about the same, none of them of its stem."""


class SearchQuery(NamedTuple):
    """A search, and the listing that it is for.

    Attributes:
        kind: one of ``KINDS``.
        product_id: the listing.
        group: its group.
        words: what is typed; empty where nothing is.
        image_id: the photo; None where there is none.
        hidden: photos that are not there to be found: that one and its copies.
    """

    kind: str
    product_id: str
    group: str
    words: str
    image_id: str | None
    hidden: frozenset[str]


def paraphrase_title(title: str) -> str | None:
    """Say a title in other words; nothing where it has none that can be changed."""
    told = content_words(title)
    if not any(word in SYNONYMS for word in told):
        return None
    return " ".join(SYNONYMS.get(word, word) for word in reversed(told))


def make_queries(
    products: pd.DataFrame, splits: pd.DataFrame, duplicate_groups: pd.DataFrame, split: str
) -> list[SearchQuery]:
    """Make the searches for the listings of a split, in the order of their ids.

    Args:
        products: ``product_id`` and ``title``.
        splits: ``image_id``, ``product_id``, ``group`` and ``split``.
        duplicate_groups: which photos are copies.
        split: which split.
    """
    here = splits[splits["split"] == split]
    titles = dict(zip(products["product_id"], products["title"], strict=True))
    copies = dict(zip(duplicate_groups["image_id"], duplicate_groups["group"], strict=True))
    alike: dict[str, set[str]] = {}
    for image, name in copies.items():
        alike.setdefault(name, set()).add(image)
    return [
        search
        for (product, group), part in here.groupby(["product_id", "group"], sort=True)
        if product in titles
        for search in _searches(
            str(product),
            str(group),
            titles[product],
            sorted(part["image_id"].dropna()),
            copies,
            alike,
        )
    ]


def _searches(
    product: str,
    group: str,
    title: str,
    images: list[str],
    copies: dict[str, str],
    alike: dict[str, set[str]],
) -> Iterator[SearchQuery]:
    nothing: frozenset[str] = frozenset()
    short, other = shorten_title(title), paraphrase_title(title)
    yield SearchQuery("title", product, group, title, None, nothing)
    yield SearchQuery("short", product, group, short, None, nothing)
    if other is not None:
        yield SearchQuery("paraphrase", product, group, other, None, nothing)
    if images:
        hidden = frozenset(alike.get(copies.get(images[0], ""), ())) | {images[0]}
        if set(images) - hidden:
            yield SearchQuery("photo", product, group, "", images[0], hidden)
            yield SearchQuery("both", product, group, short, images[0], hidden)


def query_kinds(searches: list[SearchQuery]) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """Give the kind of each search."""
    return np.array([each.kind for each in searches], dtype=np.str_)
