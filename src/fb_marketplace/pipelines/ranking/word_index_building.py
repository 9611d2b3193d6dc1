"""The terms of the listings' texts, weighed by BM25."""

import numpy as np
import pandas as pd

from fb_marketplace.ranking_parameters import WordParameters
from fb_marketplace_serving.terms import terms
from fb_marketplace_serving.word_index import WordIndex


def build_word_index(products: pd.DataFrame, parameters: WordParameters) -> bytes:
    """Index the words of the listings, sorted by id; gives Parquet.

    Args:
        products: ``product_id``, ``title`` and ``description``.
        parameters: of BM25, and how many times a word of the title counts.
    """
    return index_words(products.sort_values("product_id"), parameters).to_bytes()


def index_words(products: pd.DataFrame, parameters: WordParameters) -> WordIndex:
    """Index the words of listings, in this order.

    Args:
        products: ``title`` and ``description``.
        parameters: of BM25, and how many times a word of the title counts.
    """
    import bm25s

    documents = [
        terms(title) * parameters.title_weight + terms(description)
        for title, description in zip(products["title"], products["description"], strict=True)
    ]
    if not any(documents):
        nothing = np.empty(0, np.int32)
        return WordIndex(
            (), np.zeros(1, np.int64), nothing, nothing.astype(np.float32), len(documents)
        )
    weighed = bm25s.BM25(k1=parameters.k1, b=parameters.b)
    weighed.index(documents, show_progress=False)
    found = weighed.scores
    # It adds a term of its own, the empty one, for queries without any.
    vocabulary = sorted(
        (term for term in weighed.vocab_dict if term), key=weighed.vocab_dict.__getitem__
    )
    starts = np.asarray(found["indptr"][: len(vocabulary) + 1], np.int64)
    return WordIndex(
        vocabulary,
        starts,
        np.asarray(found["indices"][: starts[-1]], np.int32),
        np.asarray(found["data"][: starts[-1]], np.float32),
        len(documents),
    )
