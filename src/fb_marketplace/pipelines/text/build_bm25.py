"""BM25 index of the listings' texts."""

import pandas as pd

from fb_marketplace.ann.bm25 import build_bm25_index
from fb_marketplace.parameters.text import BM25Parameters


def build_bm25(products: pd.DataFrame, parameters: BM25Parameters) -> bytes:
    """Build the BM25 index of the listings, sorted by id.

    Args:
        products: ``product_id``, ``title`` and ``description``.
        parameters: parameters of BM25, and the weight of a word in a title.

    Returns:
        The index, Parquet.
    """
    return build_bm25_index(products.sort_values("product_id"), parameters).to_bytes()
