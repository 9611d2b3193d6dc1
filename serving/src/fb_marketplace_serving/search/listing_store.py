"""The listings of a release as they are looked up: by id, by filter, by photo."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.search.filters import SEPARATOR, GeoFilter, SearchFilters, is_under
from fb_marketplace_serving.search.geo import distance_km
from fb_marketplace_serving.search.listing_features import ListingFeatures
from fb_marketplace_serving.search.listings import Listing

Mask = NDArray[np.bool_]
Positions = NDArray[np.int64]

BANDS: Final = (0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
"""Where price bands begin, in the currency's units; the last has no end."""

CLOSE: Final = 0.75
"""How alike two spellings are that may be meant for one another, as difflib counts it."""

CLOSEST: Final = 3
"""Categories that an error proposes."""

SHOWN: Final = 64
"""Characters of what was asked for that an error repeats."""


class UnknownCategoryError(KeyError):
    """No listing is in a category of this name, or below it.

    Attributes:
        asked: what was asked for.
        close: category paths that may be meant: spelled nearly so; else the root categories.
    """

    def __init__(self, asked: str, close: tuple[str, ...]) -> None:
        super().__init__(asked)
        self.asked, self.close = asked, close

    def __str__(self) -> str:
        return (
            f"found the category {self.asked[:SHOWN]!r}; expected a path, or the beginning of one, such as "
            f"{', '.join(self.close)}"
        )


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """How many listings are in a category, or below it."""

    path: str
    count: int


@dataclass(frozen=True, slots=True)
class PriceBand:
    """How many listings cost this much: from ``low``, below ``high``, which is None for no end."""

    low: float
    high: float | None
    count: int


class Facets(NamedTuple):
    """How listings are spread.

    Attributes:
        categories: by the next part of their path below what was asked for, the most first.
        prices: by band, the cheapest first, those that are empty too; without those that have no price.
    """

    categories: list[CategoryCount]
    prices: list[PriceBand]


class ListingStore:
    """What is known of each listing, and of each row of the index. Safe to share between threads.

    A listing's position is its place in the order of ids, in which all that describes listings is.

    Attributes:
        product_ids: the listings, sorted.
        facts: what else is known of them, in that order.
        categories: root categories, sorted.
        paths: category paths, sorted.
        path: int32, (listings,), the place of each listing's path in ``paths``.
        root: int32, (listings,), the place of its root category in ``categories``.
        price: float64, (listings,), NaN where there is none.
        photo_count: int32, (listings,).
        listing_of_row: int32, (rows,), the position of the listing of each row of the index.
    """

    def __init__(
        self, index: Index, listings: Mapping[str, Listing], facts: ListingFeatures
    ) -> None:
        """Take an index of photos, and what is known of the listings."""
        shown = [listings[product] for product in facts.product_ids]
        self.product_ids = facts.product_ids
        self.facts = facts
        self.categories, self.root = _numbered([each.category for each in shown])
        self.paths, self.path = _numbered([each.category_path for each in shown])
        self.price = np.array(
            [np.nan if each.price is None else each.price for each in shown], np.float64
        )
        self._position = {product: place for place, product in enumerate(facts.product_ids)}
        self.listing_of_row = np.array(
            [self._position[product] for product in index.product_ids], np.int32
        )
        self.photo_count = np.bincount(self.listing_of_row, minlength=len(facts)).astype(np.int32)
        # The rows of one listing after those of the one before it.
        self._rows = np.argsort(self.listing_of_row, kind="stable").astype(np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.photo_count, dtype=np.int64)])
        self._image_ids = index.image_ids

    def __len__(self) -> int:
        return len(self.product_ids)

    def position(self, product_id: str) -> int:
        """Give where a listing is.

        Raises:
            KeyError: there is no such listing.
        """
        return self._position[product_id]

    def rows_of(self, position: int) -> Positions:
        """Give the rows of a listing's photos."""
        return self._rows[self._starts[position] : self._starts[position + 1]]

    def first_rows(self, positions: Positions) -> Positions:
        """Give the row of each listing's first photo; -1 where it has none."""
        if not len(self._rows):
            return np.full(len(positions), -1, np.int64)
        starts = self._starts[positions]
        return np.where(
            self.photo_count[positions] > 0, self._rows[np.minimum(starts, len(self._rows) - 1)], -1
        )

    def images_of(self, product_id: str) -> list[str]:
        """Give the ids of a listing's photos."""
        place = self._position.get(product_id)
        return [] if place is None else [self._image_ids[row] for row in self.rows_of(place)]

    def distances(self, near: GeoFilter, positions: Positions | None = None) -> NDArray[np.float64]:
        """Give how far listings are from a place: float64, (listings,), km; NaN where that is not known."""
        facts = self.facts
        north, east = facts.latitude, facts.longitude
        if positions is not None:
            north, east = north[positions], east[positions]
        return distance_km(near.latitude, near.longitude, north, east)

    def kept(self, asked: SearchFilters) -> Mask | None:
        """Say which listings a filter keeps: bool, (listings,); nothing where it keeps all.

        Raises:
            UnknownCategoryError: there is no such category.
        """
        if asked == SearchFilters(near=asked.near and asked.near._replace(radius_km=None)):
            return None
        mask = np.ones(len(self), np.bool_)
        if asked.categories:
            mask &= self._below(asked.categories)[self.path]
        # Not-a-number compares as false, so that what is not known is kept by no bound.
        if asked.min_price is not None:
            mask &= self.price >= asked.min_price
        if asked.max_price is not None:
            mask &= self.price <= asked.max_price
        if asked.near is not None and asked.near.radius_km is not None:
            mask &= self.distances(asked.near) <= asked.near.radius_km
        if asked.has_photo is not None:
            mask &= (self.photo_count > 0) == asked.has_photo
        return mask

    def rows_kept(self, listings: Mask | None) -> Mask | None:
        """Say which rows of the index are photos of these listings: bool, (rows,)."""
        return None if listings is None else listings[self.listing_of_row]

    def facets(self, positions: Positions, asked: Sequence[str] = ()) -> Facets:
        """Count listings by category and by price.

        Args:
            positions: which.
            asked: the categories that were asked for: the parts below them are counted, those of one that
                has none below it as itself.
        """
        counts = np.bincount(self.path[positions], minlength=len(self.paths))
        below: dict[str, int] = {}
        for place in np.flatnonzero(counts).tolist():
            part = _next_part(self.paths[place], asked)
            below[part] = below.get(part, 0) + int(counts[place])
        prices = self.price[positions]
        band = np.searchsorted(BANDS, prices[~np.isnan(prices)], side="right") - 1
        in_band = np.bincount(band[band >= 0], minlength=len(BANDS)).tolist()
        return Facets(
            [
                CategoryCount(path, count)
                for path, count in sorted(below.items(), key=lambda each: (-each[1], each[0]))
            ],
            [
                PriceBand(low, high, count)
                for low, high, count in zip(BANDS, (*BANDS[1:], None), in_band, strict=True)
            ],
        )

    def _below(self, prefixes: Sequence[str]) -> Mask:
        """Say which paths are one of these, or lie below one: bool, (paths,)."""
        found = np.zeros(len(self.paths), np.bool_)
        for prefix in prefixes:
            of_it = np.array([is_under(path, prefix) for path in self.paths], np.bool_)
            if not of_it.any():
                raise UnknownCategoryError(prefix, self._spelled_nearly(prefix))
            found |= of_it
        return found

    def _spelled_nearly(self, asked: str) -> tuple[str, ...]:
        """Give the paths that may be meant, whole or by their last part alone, the likeliest first."""
        called: dict[str, dict[str, None]] = {}
        for path in self.paths:
            parts = path.split(SEPARATOR)
            for depth, part in enumerate(parts, 1):
                above = SEPARATOR.join(parts[:depth])
                for name in (above, part):
                    called.setdefault(name.casefold(), {})[above] = None
        names = difflib.get_close_matches(asked[:SHOWN].casefold(), called, CLOSEST, CLOSE)
        close = dict.fromkeys(path for name in names for path in called[name])
        return tuple(close)[:CLOSEST] or self.categories


def _numbered(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    known = tuple(sorted(set(names)))
    places = {name: place for place, name in enumerate(known)}
    return known, np.array([places[name] for name in names], np.int32)


def _next_part(path: str, asked: Sequence[str]) -> str:
    """Give a path no longer than one part below the category, of those asked for, that it is in."""
    above = max((each for each in asked if is_under(path, each)), key=len, default="")
    depth = above.count(SEPARATOR) + 1 if above else 0
    return SEPARATOR.join(path.split(SEPARATOR)[: depth + 1])
