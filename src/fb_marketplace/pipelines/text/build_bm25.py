"""The terms of the listings' texts, weighed by BM25."""

import pandas as pd

from fb_marketplace.ann.bm25 import build_bm25_index
from fb_marketplace.parameters.text import BM25Parameters


def build_bm25(products: pd.DataFrame, parameters: BM25Parameters) -> bytes:
    """Index the words of the listings, sorted by id; gives Parquet.

    Args:
        products: ``product_id``, ``title`` and ``description``.
        parameters: of BM25, and how many times a word of the title counts.
    """
    return build_bm25_index(products.sort_values("product_id"), parameters).to_bytes()
