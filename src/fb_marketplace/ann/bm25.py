"""BM25 index of listings."""

import logging

import numpy as np
import pandas as pd

from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.tokenizer import terms


def build_bm25_index(products: pd.DataFrame, parameters: BM25Parameters) -> BM25Index:
    """Build the BM25 index of listings.

    Args:
        products: ``title`` and ``description`` of the listings.
        parameters: parameters of BM25, and the weight of a word in a title.

    Returns:
        The index; document i is row i of ``products``.
    """
    import bm25s

    # bm25s sets its own logger to DEBUG.
    logging.getLogger("bm25s").setLevel(logging.WARNING)

    titles = [terms(title) for title in products["title"]]
    documents = [
        title * parameters.title_weight + terms(description)
        for title, description in zip(titles, products["description"], strict=True)
    ]
    if not any(documents):
        empty = np.empty(0, np.int32)
        return BM25Index((), np.zeros(1, np.int64), empty, empty.astype(np.float32), len(documents))
    # bm25s numbers terms in the order of a set, which differs between processes.
    vocabulary = sorted({term for document in documents for term in document})
    number = {term: i for i, term in enumerate(vocabulary)}
    model = bm25s.BM25(k1=parameters.k1, b=parameters.b)
    model.index(
        ([[number[term] for term in document] for document in documents], number),
        create_empty_token=False,
        show_progress=False,
    )
    starts = np.asarray(model.scores["indptr"], np.int64)
    rows = np.asarray(model.scores["indices"], np.int32)
    pairs = [
        number[term] * len(documents) + document
        for document, title in enumerate(titles)
        for term in title
    ]
    entries = np.repeat(np.arange(len(vocabulary)), np.diff(starts)) * len(documents) + rows
    return BM25Index(
        vocabulary,
        starts,
        rows,
        np.asarray(model.scores["data"], np.float32),
        len(documents),
        np.isin(entries, np.array(pairs, np.int64)).astype(np.int8),
    )
