"""The terms of the listings' texts, weighed by BM25."""

import pandas as pd

from fb_marketplace.ann.bm25 import index_words
from fb_marketplace.parameters.text import WordParameters


def build_word_index(products: pd.DataFrame, parameters: WordParameters) -> bytes:
    """Index the words of the listings, sorted by id; gives Parquet.

    Args:
        products: ``product_id``, ``title`` and ``description``.
        parameters: of BM25, and how many times a word of the title counts.
    """
    return index_words(products.sort_values("product_id"), parameters).to_bytes()
