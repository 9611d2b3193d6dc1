import math

import numpy as np
import pytest

from fb_marketplace_serving.search.listings.listing import Listing, ListingTable


def listing(product_id, price=5.0, town=None, created_at=None):
    return Listing(
        product_id,
        f"title {product_id}",
        price,
        "GBP",
        "Home",
        "Home / Tables",
        town,
        None,
        None,
        created_at,
    )


CARDS = [listing("b", town="Hull"), listing("c", math.nan), listing("a", None, created_at=7)]


@pytest.mark.parametrize("cards", [CARDS, sorted(CARDS)], ids=["unsorted", "sorted"])
@pytest.mark.parametrize("positions", [[], [0], [2, 0, 1, 2]])
def test_take_returns_listings_by_position_of_sorted_id(cards, positions):
    table = ListingTable.from_listings(cards)

    taken = table.take(np.array(positions, np.int64))

    assert taken == [table["abc"[position]] for position in positions]


def test_take_replaces_price_nan():
    assert ListingTable.from_listings(CARDS).take(np.array([2]))[0].price is None
