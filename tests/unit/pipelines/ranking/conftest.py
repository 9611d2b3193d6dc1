"""A small marketplace, stored as the earlier stages leave it."""

import pytest
from support.builders.stored_market import Tables, draw_tables, open_stored

from fb_marketplace.pipelines.ranking.evaluation_corpus import SearchEvaluationData


@pytest.fixture(scope="session")
def market_tables() -> Tables:
    return draw_tables()


@pytest.fixture(scope="session")
def stored_market(
    market_tables: Tables, tmp_path_factory: pytest.TempPathFactory
) -> SearchEvaluationData:
    return open_stored(tmp_path_factory.mktemp("market"), market_tables)
