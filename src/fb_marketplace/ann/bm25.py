"""BM25 index of listings."""

import logging

import numpy as np
import pandas as pd

from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.tokenizer import terms


def build_bm25_index(products: pd.DataFrame, parameters: BM25Parameters) -> BM25Index:
    """Index the words of listings, in this order.

    Args:
        products: ``title`` and ``description``.
        parameters: of BM25, and how many times a word of the title counts.
    """
    import bm25s

    # It sets itself to debug.
    logging.getLogger("bm25s").setLevel(logging.WARNING)

    documents = [
        terms(title) * parameters.title_weight + terms(description)
        for title, description in zip(products["title"], products["description"], strict=True)
    ]
    if not any(documents):
        nothing = np.empty(0, np.int32)
        return BM25Index(
            (), np.zeros(1, np.int64), nothing, nothing.astype(np.float32), len(documents)
        )
    # Numbered here: left to itself it takes the order of a set, which is another in each process.
    vocabulary = sorted({term for document in documents for term in document})
    place = {term: number for number, term in enumerate(vocabulary)}
    weighed = bm25s.BM25(k1=parameters.k1, b=parameters.b)
    weighed.index(
        ([[place[term] for term in document] for document in documents], place),
        create_empty_token=False,
        show_progress=False,
    )
    found = weighed.scores
    return BM25Index(
        vocabulary,
        np.asarray(found["indptr"], np.int64),
        np.asarray(found["indices"], np.int32),
        np.asarray(found["data"], np.float32),
        len(documents),
    )
