"""The listings of a release as they are looked up: by id, by filter, by photo."""

from collections.abc import Collection, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.index import Index
from fb_marketplace_serving.listings import Listing
from fb_marketplace_serving.release import Release


class Catalogue:
    """What is known of each row of an index. Safe to share between threads.

    Attributes:
        categories: the root categories of the listings that have photos, sorted.
    """

    def __init__(self, index: Index, shown: Sequence[Listing]) -> None:
        """Take an index, and the listing of each of its rows."""
        self.categories = tuple(sorted({listing.category for listing in shown}))
        places = {name: place for place, name in enumerate(self.categories)}
        self._places = places
        self._category = np.array([places[each.category] for each in shown], np.int32)
        self._price = np.array(
            [np.nan if each.price is None else each.price for each in shown], np.float64
        )
        self._rows_of: dict[str, list[int]] = {}
        for row, product in enumerate(index.product_ids):
            self._rows_of.setdefault(product, []).append(row)
        self._image_ids = index.image_ids

    @classmethod
    def of(cls, release: Release) -> Self:
        """Take those of a release."""
        return cls(
            release.index, [release.listings[product] for product in release.index.product_ids]
        )

    def images_of(self, product_id: str) -> list[str]:
        """Give the ids of a listing's photos."""
        return [self._image_ids[row] for row in self._rows_of.get(product_id, ())]

    def kept(
        self,
        categories: Collection[str] = (),
        min_price: float | None = None,
        max_price: float | None = None,
    ) -> NDArray[np.bool_] | None:
        """Say which rows a filter keeps: bool, (rows,); nothing where it keeps all.

        A listing without a price is kept by no bound of a price.

        Args:
            categories: of which a listing has to have one; all of ``categories``, or none.
            min_price: the least that it may cost.
            max_price: the most that it may cost.

        Raises:
            KeyError: there is no such category.
        """
        if not categories and min_price is None and max_price is None:
            return None
        mask = np.ones(len(self._category), np.bool_)
        if categories:
            wanted = [self._places[category] for category in categories]
            mask &= np.isin(self._category, wanted)
        # Not-a-number compares as false, so that no price is kept by no bound.
        if min_price is not None:
            mask &= self._price >= min_price
        if max_price is not None:
            mask &= self._price <= max_price
        return mask
