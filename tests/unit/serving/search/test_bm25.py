import io
from concurrent.futures import ThreadPoolExecutor

import bm25s
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.builders.small_market import WORDS, count_words

from fb_marketplace_serving.search import bm25
from fb_marketplace_serving.search import tokenizer as terms_module
from fb_marketplace_serving.search.bm25 import BM25Index, BM25IndexError
from fb_marketplace_serving.search.tokenizer import terms

TEXTS = ["red chairs", "a red red lamp", "", "oak table and oak chairs", "!!!", "lamp"]


@pytest.fixture
def index():
    return count_words(TEXTS)


@pytest.fixture(scope="module")
def weighed():
    """bm25s over drawn texts, and the same matrix as a word index."""
    random = np.random.default_rng(0)
    documents = [terms(" ".join(random.choice(WORDS, random.integers(0, 30)))) for _ in range(200)]
    theirs = bm25s.BM25(k1=1.2, b=0.75)
    theirs.index(documents, show_progress=False, create_empty_token=False)
    result = theirs.scores
    ours = BM25Index(
        sorted(theirs.vocab_dict, key=theirs.vocab_dict.__getitem__),
        np.asarray(result["indptr"], np.int64),
        np.asarray(result["indices"], np.int32),
        np.asarray(result["data"], np.float32),
        len(documents),
    )
    return theirs, ours


def rewritten(data, change):
    buffer = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(data))), buffer)
    return buffer.getvalue()


def draw_words(random):
    return " ".join(random.choice(WORDS, random.integers(1, 6), replace=False))


def test_scores_equal_bm25s(weighed):
    theirs, ours = weighed
    random = np.random.default_rng(1)
    for _ in range(100):
        query = draw_words(random)
        np.testing.assert_array_equal(ours.scores(query), theirs.get_scores(terms(query)))


@pytest.mark.parametrize("max_groups", [3, bm25.MAX_GROUPS])
def test_shares_equal_those_of_each_document_alone(monkeypatch, max_groups):
    monkeypatch.setattr(bm25, "MAX_GROUPS", max_groups)
    random = np.random.default_rng(3)
    index = count_words([draw_words(random) for _ in range(200)])
    vocabulary, starts, rows, _, in_title = index.matrix
    for _ in range(60):
        query = f"{draw_words(random)} zebra"
        rows_of = {
            term: dict(zip(rows[first:last].tolist(), in_title[first:last].tolist(), strict=True))
            for term, first, last in zip(vocabulary, starts, starts[1:], strict=False)
        }
        counts = {term: len(rows_of.get(term, ())) for term in terms(query)}
        rarity = {t: np.log1p((200 - n + 0.5) / (n + 0.5)) for t, n in counts.items()}
        title, text = np.zeros((2, 200), np.float32)
        for term, weight in rarity.items():
            share = np.float32(weight / sum(rarity.values()))
            for row, is_in_title in rows_of.get(term, {}).items():
                text[row] += share
                title[row] += share * is_in_title

        matches = index.match(query)

        np.testing.assert_array_equal(matches.title, title)
        np.testing.assert_array_equal(matches.text, text)
        np.testing.assert_array_equal(matches.documents, np.flatnonzero(text))
        assert (matches.terms, matches.unknown > 0) == (len(counts), True)


def test_parts_sum_to_score(weighed):
    _, ours = weighed
    random = np.random.default_rng(2)
    for _ in range(100):
        query, document = draw_words(random), int(random.integers(ours.documents))

        parts = ours.parts(query, document)

        assert sum(parts.values()) == pytest.approx(ours.scores(query)[document], abs=1e-5)
        assert set(parts) <= set(terms(query))
        assert list(parts.values()) == sorted(parts.values(), reverse=True)


def test_inflected_forms_match(index):
    assert np.flatnonzero(index.scores("Chair")).tolist() == [0, 3]


def test_repeated_query_word_counts_once(index):
    np.testing.assert_array_equal(index.scores("red reds RED"), index.scores("red"))


@pytest.mark.parametrize("query", ["", "!!!", "wardrobe"])
def test_unknown_words_score_zero(index, query):
    assert index.scores(query).tolist() == [0] * len(TEXTS)
    assert index.scores(query).dtype == np.float32
    assert index.parts(query, 0) == {}


def test_missing_term_is_no_part_of_score(index):
    assert list(index.parts("red lamp wardrobe", 0)) == ["red"]
    assert index.parts("red", 5) == {}


def test_scores_of_earlier_query_stay_unchanged(index):
    first = index.scores("red")
    before = first.copy()

    index.scores("red")[:] = 9
    index.scores("lamp")

    np.testing.assert_array_equal(first, before)
    np.testing.assert_array_equal(index.scores("red"), before)


def test_index_round_trips_through_bytes(weighed):
    _, ours = weighed
    again = BM25Index.from_bytes(ours.to_bytes())

    assert again.documents == ours.documents
    assert again.to_bytes() == ours.to_bytes()
    for word in WORDS:
        np.testing.assert_array_equal(again.scores(word), ours.scores(word))
        assert again.parts(word, 3) == ours.parts(word, 3)


@pytest.mark.parametrize("documents", [0, 3])
def test_index_without_terms_round_trips(documents):
    empty = BM25Index(
        (), np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), documents
    )

    again = BM25Index.from_bytes(empty.to_bytes())

    assert again.scores("red").tolist() == [0] * documents


def test_many_threads_equal_one_thread(weighed):
    _, ours = weighed
    random = np.random.default_rng(3)
    queries = [draw_words(random) for _ in range(200)]

    with ThreadPoolExecutor(8) as pool:
        for query, result in zip(queries, pool.map(ours.scores, queries), strict=True):
            np.testing.assert_array_equal(result, ours.scores(query))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no word index", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_non_parquet_bytes_are_rejected(data):
    with pytest.raises(BM25IndexError, match="Parquet"):
        BM25Index.from_bytes(data)


def test_truncated_bytes_are_rejected(index):
    data = index.to_bytes()
    for length in range(0, len(data), 97):
        with pytest.raises(BM25IndexError):
            BM25Index.from_bytes(data[:length])


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns("scores"),
        lambda table: table.select(["scores", "documents", "term"]),
        lambda table: table.set_column(1, "documents", pa.array(["0"] * table.num_rows)),
        lambda table: table.set_column(1, "documents", pa.array([0.5] * table.num_rows)),
        lambda table: table.set_column(0, "term", pa.nulls(table.num_rows, pa.string())),
        lambda table: table.set_column(
            2, "scores", pa.nulls(table.num_rows, pa.large_list(pa.float32()))
        ),
    ],
)
def test_other_columns_are_rejected(index, change):
    with pytest.raises(BM25IndexError, match="columns"):
        BM25Index.from_bytes(rewritten(index.to_bytes(), change))


@pytest.mark.parametrize(
    "values", [{}, {"documents": "6"}, {"documents": "six", "terms_version": "1"}]
)
def test_index_without_metadata_is_rejected(index, values):
    with pytest.raises(BM25IndexError, match="metadata"):
        BM25Index.from_bytes(
            rewritten(index.to_bytes(), lambda table: table.replace_schema_metadata(values))
        )


@pytest.mark.parametrize("documents", ["0", "5"])
def test_document_out_of_range_is_rejected(index, documents):
    values = {"documents": documents, "terms_version": str(terms_module.VERSION)}
    with pytest.raises(BM25IndexError, match=rf"\b{documents}\b"):
        BM25Index.from_bytes(
            rewritten(index.to_bytes(), lambda table: table.replace_schema_metadata(values))
        )


def test_terms_of_other_version_are_rejected(index, monkeypatch):
    data = index.to_bytes()
    monkeypatch.setattr(terms_module, "VERSION", terms_module.VERSION + 1)

    with pytest.raises(BM25IndexError, match="version"):
        BM25Index.from_bytes(data)


@pytest.mark.parametrize(
    ("starts", "rows"),
    [
        ([0, 1], [0, 1]),  # a term has no end
        ([0, 1, 3], [0, 1]),  # an end beyond the last
        ([0, 3, 2], [0, 1]),  # an end before a beginning
        ([1, 1, 2], [0, 1]),  # a place of no term
        ([0, 1, 2], [0, 2]),
        ([0, 1, 2], [-1, 1]),
        ([], []),
    ],
)
def test_inconsistent_arrays_are_rejected(starts, rows):
    with pytest.raises(BM25IndexError, match=r"\b2 terms\b"):
        BM25Index(
            ("a", "b"),
            np.array(starts, np.int64),
            np.array(rows, np.int32),
            np.ones(len(rows), np.float32),
            2,
        )
