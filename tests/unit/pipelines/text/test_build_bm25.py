import io
from math import log

import bm25s
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.builders.small_market import WORDS

from fb_marketplace.ann.bm25 import build_bm25_index
from fb_marketplace.pipelines.text.build_bm25 import build_bm25
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.tokenizer import terms


def draw_products(count=150, seed=0):
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(WORDS, random.integers(0, 12))) for _ in range(2 * count)]
    ids = [f"p{place:03}" for place in range(count)]
    return pd.DataFrame({"product_id": ids, "title": texts[:count], "description": texts[count:]})


def products_of(*rows):
    return pd.DataFrame(rows, columns=["product_id", "title", "description"])


def test_scores_equal_bm25s(weighing):
    products = draw_products()
    theirs = bm25s.BM25(k1=weighing.k1, b=weighing.b)
    theirs.index(
        [
            terms(title) * weighing.title_weight + terms(description)
            for title, description in zip(products["title"], products["description"], strict=True)
        ],
        show_progress=False,
    )

    result = build_bm25_index(products, weighing)

    random = np.random.default_rng(1)
    for _ in range(50):
        query = " ".join(random.choice(WORDS, random.integers(1, 5), replace=False))
        np.testing.assert_allclose(result.scores(query), theirs.get_scores(terms(query)), rtol=1e-6)


def test_term_score_equals_formula(weighing):
    products = products_of(("p", "oak chair", "old oak"), ("q", "lamp", ""), ("r", "", "an oak"))

    result = build_bm25_index(products, weighing)

    k1, b, weight = weighing.k1, weighing.b, weighing.title_weight
    lengths = [2 * weight + 2, weight, 2]
    often = [weight + 1, 0, 1]  # "oak" in each
    rare = log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    expected = [
        rare * times / (times + k1 * (1 - b + b * length / (sum(lengths) / 3)))
        for times, length in zip(often, lengths, strict=True)
    ]
    np.testing.assert_allclose(result.scores("oak"), expected, rtol=1e-6)


def test_title_words_have_configured_weight(weighing):
    products = products_of(("p", "oak", "chair"), ("q", "chair", "oak"))

    def score(weight):
        return build_bm25_index(
            products, weighing.model_copy(update={"title_weight": weight})
        ).scores

    even, heavy = score(1)("oak"), score(5)("oak")
    assert even[0] == even[1]
    assert heavy[0] > heavy[1]


def test_documents_are_in_order_of_ids(weighing):
    products = products_of(("q", "lamp", ""), ("p", "chair", ""), ("r", "oak", ""))

    result = BM25Index.from_bytes(build_bm25(products, weighing))

    places = {
        word: np.flatnonzero(result.scores(word)).tolist() for word in ("chair", "lamp", "oak")
    }
    assert places == {"chair": [0], "lamp": [1], "oak": [2]}


def test_bytes_do_not_depend_on_row_or_set_order(weighing):
    products = draw_products()

    data = build_bm25(products, weighing)

    assert build_bm25(products.sample(frac=1, random_state=0), weighing) == data
    vocabulary = pq.read_table(io.BytesIO(data)).column("term").to_pylist()
    assert vocabulary == sorted(set(vocabulary))


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("p", "", ""), ("q", "!!!", "…")],
        [("p", "!!!", ""), ("q", "oak", "")],
        [("p", "oak", ""), ("q", "", "")],
    ],
)
def test_listings_without_words_are_documents(weighing, rows):
    result = BM25Index.from_bytes(build_bm25(products_of(*rows), weighing))

    assert result.documents == len(rows)
    assert [score > 0 for score in result.scores("oak")] == [title == "oak" for _, title, _ in rows]
