"""Indexes of each kind over the same few thousand vectors."""

import pytest
from support.builders.brute_force import COUNT, drawn

from fb_marketplace_serving.ann import faiss_index
from fb_marketplace_serving.ann.build import build_index, flat_index, search_settings
from fb_marketplace_serving.ann.faiss_index import KINDS
from fb_marketplace_serving.ann.index import Index


@pytest.fixture(scope="module")
def matrix():
    return drawn(0, COUNT)


@pytest.fixture(scope="module")
def queries():
    return drawn(1, 60)


@pytest.fixture(scope="module")
def indexes_by_kind(matrix):
    """An index of each kind, set to look as far as it can."""

    def make(kind):
        vectors = build_index(kind, flat_index([matrix]))
        vectors.set_search_params(list(search_settings(vectors))[-1])
        return vectors

    return {kind: make(kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def index(request, indexes_by_kind):
    names = [f"i{row}" for row in range(COUNT)]
    return Index(indexes_by_kind[request.param], names, names)


@pytest.fixture
def few_rows_exact(monkeypatch):
    """Lets the index, and not a scan, answer a filter that keeps many of these few rows."""
    monkeypatch.setattr(faiss_index, "EXACT_ROWS", 10)
