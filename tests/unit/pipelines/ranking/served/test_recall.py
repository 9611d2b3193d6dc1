import pytest

from fb_marketplace.pipelines.ranking.served.recall import (
    evaluate_paraphrases,
    evaluate_typos,
    has_long_word,
)
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery, make_queries


@pytest.fixture
def titles(stored_market):
    market = stored_market
    made = make_queries(market.products, market.splits, market.duplicate_groups, "test")
    return [query for query in made if query.kind == "title" and has_long_word(query)]


def query(words):
    return SearchQuery("short", "p", "g", words, None, frozenset())


def test_only_long_words_get_typos():
    assert has_long_word(query("red chair"))
    assert not has_long_word(query("red sofa 12345 стулья"))


def test_recall_with_typos_needs_the_correction(open_search, titles, few, monkeypatch):
    served = open_search(threshold=0.0)
    corrected = evaluate_typos(served, titles, few).metrics
    monkeypatch.setattr(served, "correct", lambda text: text)
    uncorrected = evaluate_typos(served, titles, few).metrics

    assert corrected["typos"] == len(titles) > 0
    assert uncorrected["recall_at_10"] == uncorrected["uncorrected"] == corrected["uncorrected"]
    assert uncorrected["restored"] == 0 < corrected["restored"]


def test_correct_query_that_is_changed_is_counted(open_search, titles, few, monkeypatch):
    served = open_search(threshold=0.0)
    monkeypatch.setattr(served, "correct", lambda text: "zzzz")
    monkeypatch.setattr(served, "finds", lambda text, product: text != "zzzz")
    metrics = evaluate_typos(served, titles, few).metrics

    assert metrics["changed"] == metrics["worse"] == len(titles)
    assert metrics["to_correctly_spelled"] is None


def test_cases_with_typos_are_those_found_by_correct_spelling(
    open_search, titles, few, monkeypatch
):
    served = open_search(threshold=0.0)
    lost, *others = titles
    words = {query.words for query in others}
    monkeypatch.setattr(served, "correct", lambda text: text)
    monkeypatch.setattr(served, "finds", lambda text, product: text in words)

    cases = evaluate_typos(served, titles, few).cases

    assert set(cases["product_id"]) == {query.product_id for query in others}
    assert lost.product_id not in set(cases["product_id"])


def test_market_without_long_words_has_no_typos(open_search, few):
    assert evaluate_typos(open_search(), [], few).metrics == {"typos": 0}


def test_paraphrases_have_recall_by_kind(open_search, titles, few):
    renamed = [title._replace(kind="respaced") for title in titles[:3]]
    metrics, cases = evaluate_paraphrases(open_search(threshold=0.0), [*titles, *renamed], few)

    assert metrics.keys() == {"respaced", "title", "all"}
    assert metrics["title"]["value"] > metrics["title"]["random_baseline"] > 0
    assert len(cases) == len(titles) + 3
    assert evaluate_paraphrases(open_search(), [], few).metrics == {"all": None}
