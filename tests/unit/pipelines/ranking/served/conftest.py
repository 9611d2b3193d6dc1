"""The search over the test listings of the stored market: fused ranks, and a trained relevance model."""

import pytest

from fb_marketplace.pipelines.ranking.served.search import ServedSearch
from fb_marketplace.pipelines.ranking.train_relevance import train_relevance
from fb_marketplace_serving.search.engine import SearchEngine
from fb_marketplace_serving.search.ranking.relevance import RelevanceModel


@pytest.fixture(scope="package")
def model(stored_market, weighing, relevance_parameters) -> bytes:
    return train_relevance(stored_market, weighing, relevance_parameters).model


@pytest.fixture(scope="package")
def open_search(stored_market, weighing, model):
    """Open the search; by default with the trained threshold."""
    corpus = stored_market.corpus("test", weighing)

    def open_search(threshold: float | None = None) -> ServedSearch:
        relevance = RelevanceModel.from_bytes(model)
        if threshold is not None:
            relevance = relevance._replace(threshold=threshold)
        return ServedSearch(
            corpus,
            stored_market.encoder,
            SearchEngine(corpus.indexes, None, stored_market.labels, relevance),
            stored_market.query_understanding(),
        )

    return open_search


@pytest.fixture
def few(measuring):
    return measuring.model_copy(update={"bootstrap_samples": 20})
