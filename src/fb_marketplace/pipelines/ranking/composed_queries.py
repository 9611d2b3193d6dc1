"""Composed queries, such as "this, but in red": a photo of a listing, and an attribute of other listings.

An attribute is a colour, material, size, age or condition: a word of ``ATTRIBUTES``. A query has

- a photo of a listing; the photo and its copies are hidden from the search;
- an attribute, drawn from those that titles of other listings of the same category path have, and that are
  neither in the listing's title nor in its description.

The other listings of the path whose title has the attribute are relevant: grade 3 if the two titles share
another word that is neither common nor an attribute, else grade 2. All others have grade 0, among them
listings of the same item, and listings that have the attribute in the description only.
"""

import random
from typing import Final

import pandas as pd

from fb_marketplace.evaluation.query_text import content_words
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery, photo_copies
from fb_marketplace_serving.search.query.lexicon import COLOURS, CONDITIONS
from fb_marketplace_serving.search.tokenizer import terms, words

COMPOSED: Final = "composed"

_OTHERS: Final = words("""
    wood wooden oak pine teak mahogany walnut bamboo rattan wicker metal steel iron brass copper
    aluminium chrome glass crystal ceramic porcelain marble leather suede velvet cotton wool linen
    denim fur silk plastic single double king queen large small medium big mini tall long short
    vintage retro antique
    """)

ATTRIBUTES: Final = frozenset(
    {*COLOURS, *_OTHERS, *(name for name in CONDITIONS if " " not in name)}
)


def make_composed_queries(
    products: pd.DataFrame, splits: pd.DataFrame, duplicate_groups: pd.DataFrame, split: str
) -> list[SearchQuery]:
    """Build a composed query for each listing of a split that allows one, sorted by product id.

    Args:
        products: ``product_id``, ``title``, ``description`` and ``category_path``.
        splits: ``image_id``, ``product_id``, ``group`` and ``split``.
        duplicate_groups: groups of copies and near-duplicates.
        split: name of the split.
    """
    members = splits[splits["split"] == split]
    listings = products[products["product_id"].isin(set(members["product_id"]))]
    copies = photo_copies(duplicate_groups)
    photos = members.dropna(subset="image_id").sort_values("image_id").drop_duplicates("product_id")
    photo_of = dict(zip(photos["product_id"], photos["image_id"], strict=True))
    group_of = dict(zip(photos["product_id"], photos["group"], strict=True))
    columns = ["product_id", "title", "description"]
    queries = []
    for _, path in listings.groupby("category_path"):
        attributes = sorted({word for title in path["title"] for word in words(title)} & ATTRIBUTES)
        for product, title, description in path[columns].itertuples(index=False):
            own = set(terms(f"{title} {description}"))
            others = [word for word in attributes if own.isdisjoint(terms(word))]
            if product in photo_of and others:
                word, image = random.Random(product).choice(others), photo_of[product]
                hidden = copies.get(image, frozenset()) | {image}
                queries.append(
                    SearchQuery(COMPOSED, product, group_of[product], word, image, hidden)
                )
    return sorted(queries, key=lambda query: query.product_id)


def object_words(title: str) -> str:
    """Return the words of a title that are neither common, nor attributes, nor contain a digit."""
    return " ".join(word for word in content_words(title) if word not in ATTRIBUTES)
