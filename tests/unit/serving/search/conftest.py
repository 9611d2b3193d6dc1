"""A marketplace that is searched, and a ranker trained on it."""

import pytest
from support.builders.small_market import Market, make_market, train_ranker


@pytest.fixture(scope="session")
def market() -> Market:
    return make_market()


@pytest.fixture(scope="session")
def ranker_model(market: Market) -> bytes:
    """A LightGBM model as text."""
    return train_ranker(market)
