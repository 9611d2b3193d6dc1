"""The listings of a release by id, filter and photo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.search.listings.attribute_table import AttributeCount
from fb_marketplace_serving.search.listings.filters import (
    NO_FILTERS,
    SEPARATOR,
    GeoFilter,
    SearchFilters,
    is_under,
)
from fb_marketplace_serving.search.listings.geo import distance_km
from fb_marketplace_serving.search.listings.listing import IMPLAUSIBLE, Listing, ListingTable
from fb_marketplace_serving.search.listings.listing_features import ListingFeatures
from fb_marketplace_serving.search.suggestions import (
    MAX_QUOTED,
    MAX_SUGGESTIONS,
    close_names,
    quote,
)
from fb_marketplace_serving.storage.columns import IdColumn, column_of, text_array, to_numpy

Mask = NDArray[np.bool_]
Positions = NDArray[np.int64]

SortKey = Literal["newest", "price_asc", "price_desc", "distance"]

STORED_SORTS: Final = ("newest", "price_asc", "price_desc")
"""Orders that are the same for all buyers."""

PRICE_BANDS: Final = (0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
"""Lower bounds of price bands, in the currency's units; the last band is open."""

FACET_CACHE_SIZE: Final = 256
"""Selections of categories whose subcategories are stored."""


class UnknownCategoryError(KeyError):
    """No listing is in a category of this name, or below it.

    Attributes:
        category: the unknown category.
        suggestions: category paths of similar spelling; all root categories if there are none.
    """

    def __init__(self, category: str, suggestions: tuple[str, ...]) -> None:
        super().__init__(category)
        self.category, self.suggestions = category, suggestions

    def __str__(self) -> str:
        return (
            f"unknown category {quote(self.category)}; expected a category path or its first part, "
            f"such as {', '.join(self.suggestions)}"
        )


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """Number of listings in a category or below it."""

    path: str
    count: int


@dataclass(frozen=True, slots=True)
class PriceBand:
    """Number of listings with ``low <= price < high``; ``high`` is None for the open band."""

    low: float
    high: float | None
    count: int


class Facets(NamedTuple):
    """Counts of listings.

    Attributes:
        categories: counts by the next part of the path below the selected categories, largest first.
        prices: counts by price band, cheapest first, including empty bands. Listings without a price, or
            whose price is a joke or absurd, are not counted.
        attributes: counts by attribute, by kind, then the most frequent first.
    """

    categories: list[CategoryCount]
    prices: list[PriceBand]
    attributes: list[AttributeCount]


class ListingStore:
    """The listings, and the listing of each row of the image index. Thread-safe.

    A listing's position is its index in the sorted ids; all per-listing arrays have this order.

    Attributes:
        product_ids: ids of the listings, sorted.
        features: further properties of the listings.
        categories: root categories, sorted.
        paths: category paths, sorted.
        path: int32, (listings,), index of each listing's path in ``paths``.
        root_of_path: int64, (paths,), index of the root category of each path in ``categories``.
        root: int32, (listings,), index of each listing's root category in ``categories``.
        price: float64, (listings,), in the currency's units; NaN if there is none.
        meant_price: float64, (listings,), the price; NaN if there is none, or if it is a joke or absurd.
        created_at: float64, (listings,), seconds since 1970; NaN if unknown.
        photo_count: int32, (listings,), number of photos.
        first_row: int64, (listings,), row of each listing's first photo in the image index; -1 if it has
            none.
        shared_family: int32, (listings,), number of each listing's family; -1 if it is alone in it.
        families: number of families of several listings.
        listing_of_row: int32, (rows,), position of the listing of each row of the image index.
    """

    def __init__(
        self, index: Index, listings: Mapping[str, Listing], features: ListingFeatures
    ) -> None:
        """Join an index of photos with listings and their features.

        Raises:
            KeyError: a listing is unknown.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = _sorted_columns(ListingTable.from_listings(listings), features.product_ids)
        self.product_ids = features.product_ids
        self.features = features
        self.categories, self.root = _encode_labels(columns["category"])
        self.paths, self.path = _encode_labels(columns["category_path"])
        # Listings grouped by path.
        self._by_path = np.argsort(self.path, kind="stable").astype(np.int64)
        self._path_starts = np.searchsorted(
            self.path[self._by_path], np.arange(len(self.paths) + 1)
        )
        self.root_of_path = self.root[self._by_path[self._path_starts[:-1]]].astype(np.int64)
        self.price = to_numpy(columns["price"], pa.float64(), np.nan)
        is_meant = pc.invert(pc.is_in(columns["price_flag"], text_array(IMPLAUSIBLE)))
        self.meant_price = np.where(to_numpy(is_meant, pa.uint8(), 0), self.price, np.nan)
        self.created_at = to_numpy(columns["created_at"], pa.float64(), np.nan)
        self.listing_of_row = self.product_ids.find_all(index.product_ids).astype(np.int32)
        if (self.listing_of_row < 0).any():
            raise KeyError(index.product_ids[int(np.argmax(self.listing_of_row < 0))])
        self.photo_count = np.bincount(self.listing_of_row, minlength=len(features)).astype(
            np.int32
        )
        # Rows grouped by listing.
        self._rows = np.argsort(self.listing_of_row, kind="stable").astype(np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.photo_count, dtype=np.int64)])
        self.first_row = np.where(
            self.photo_count > 0, np.append(self._rows, -1)[self._starts[:-1]], -1
        )
        size = np.bincount(features.family)
        number = np.where(size > 1, np.cumsum(size > 1) - 1, -1).astype(np.int32)
        self.shared_family = number[features.family]
        self.families = int((size > 1).sum())
        self._ranks = {
            "newest": ranks(-self.created_at),
            "price_asc": ranks(self.meant_price),
            "price_desc": ranks(-self.meant_price),
        }
        positions = np.arange(len(features))
        self._orders = {"relevance": positions} | {
            sort: np.argsort(keys, kind="stable") for sort, keys in self._ranks.items()
        }
        band = np.searchsorted(PRICE_BANDS, self.meant_price, side="right") - 1
        has_band = (band >= 0) & ~np.isnan(self.meant_price)
        self._band = np.where(has_band, band, len(PRICE_BANDS)).astype(np.int8)
        places, self._place = _group_places(features.latitude, features.longitude)
        self._place_latitude, self._place_longitude = places
        self._facet_parts = lru_cache(FACET_CACHE_SIZE)(partial(_next_parts, self.paths))
        self._image_ids = index.image_ids

    def __len__(self) -> int:
        return len(self.product_ids)

    @property
    def has_dates(self) -> bool:
        """Whether the date of a listing is known."""
        return not np.isnan(self.created_at).all()

    def position(self, product_id: str) -> int:
        """Return the position of a listing.

        Raises:
            KeyError: there is no such listing.
        """
        position = self.product_ids.find(product_id)
        if position is None:
            raise KeyError(product_id)
        return position

    def positions_of_path(self, path: int) -> Positions:
        """Return the listings of a category path, by its index, sorted: int64, (listings,)."""
        return self._by_path[self._path_starts[path] : self._path_starts[path + 1]]

    def rows_of(self, position: int) -> Positions:
        """Return the rows of a listing's photos in the image index: int64, (photos,)."""
        return self._rows[self._starts[position] : self._starts[position + 1]]

    def rows_of_all(self, positions: Positions) -> tuple[Positions, Positions]:
        """Return the rows of the photos of listings, and each row's index in ``positions``."""
        counts = self.photo_count[positions]
        owners = np.repeat(np.arange(len(positions)), counts)
        # Starts of the listings' rows, less the number of rows before them.
        starts = self._starts[positions] - (np.cumsum(counts) - counts)
        places = starts[owners]
        places += np.arange(len(owners))
        return self._rows[places], owners

    def images_of(self, product_id: str) -> list[str]:
        """Return the ids of a listing's photos."""
        position = self.product_ids.find(product_id)
        return [] if position is None else [self._image_ids[row] for row in self.rows_of(position)]

    def distances(
        self, location: GeoFilter, positions: Positions | None = None
    ) -> NDArray[np.float64]:
        """Compute the distances of listings from a location.

        Args:
            location: the location; its radius is ignored.
            positions: int64, (listings,), the listings; None for all.

        Returns:
            float64, (listings,), km; NaN if a listing's location is unknown.
        """
        # Many listings are in the same town.
        distances = distance_km(
            location.latitude, location.longitude, self._place_latitude, self._place_longitude
        )
        return distances[self._place if positions is None else self._place[positions]]

    def order(self, sort: Literal["relevance"] | SortKey) -> Positions:
        """Return all listings in an order that is the same for all buyers: int64, (listings,).

        Args:
            sort: by id, or one of ``STORED_SORTS``. Those without a date or price come last.
        """
        return self._orders[sort]

    def sort_keys(
        self, sort: SortKey, positions: Positions, location: GeoFilter | None
    ) -> NDArray[np.unsignedinteger]:
        """Return integers that sort listings. Those without a date, price or distance come last.

        Args:
            sort: the order.
            positions: int64, (listings,), the listings.
            location: the buyer's location, for distances.
        """
        if sort != "distance":
            return self._ranks[sort][positions]
        if location is None:
            raise ValueError("sorting by distance requires a location")
        distances = distance_km(
            location.latitude, location.longitude, self._place_latitude, self._place_longitude
        )
        return ranks(distances)[self._place[positions]]

    def mask(self, filters: SearchFilters) -> Mask | None:
        """Return a mask of the listings that pass filters: bool, (listings,); None if no filter is set.

        Raises:
            UnknownCategoryError: there is no such category.
        """
        location = filters.location
        if location is not None and location.radius_km is None:
            location, filters = None, filters._replace(location=None)
        if filters == NO_FILTERS:
            return None
        mask = np.ones(len(self), np.bool_)
        if filters.categories:
            mask &= self._paths_under(filters.categories)[self.path]
        # Comparisons with NaN are false, so a bound excludes unknown values.
        if filters.min_price is not None:
            mask &= self.price >= filters.min_price
        if filters.max_price is not None:
            mask &= self.price <= filters.max_price
        if location is not None and location.radius_km is not None:
            mask &= self.distances(location) <= location.radius_km
        if filters.has_photo is not None:
            mask &= (self.photo_count > 0) == filters.has_photo
        for name in dict.fromkeys(filters.attributes):
            mask &= self.features.attributes.mask(name)
        return mask

    def row_mask(self, listing_mask: Mask | None) -> Mask | None:
        """Return a mask of the photos of masked listings: bool, (rows,); None if there is no mask."""
        return None if listing_mask is None else listing_mask[self.listing_of_row]

    def facets(self, positions: Positions, categories: Sequence[str] = ()) -> Facets:
        """Count listings by category, price and attribute.

        Args:
            positions: int64, (listings,), the listings.
            categories: the selected categories. Listings are counted by the subcategory one level below.
                A category without subcategories is counted itself.
        """
        names, part_of_path = self._facet_parts(tuple(categories))
        counts = np.bincount(self.path[positions], minlength=len(self.paths))
        in_part = np.zeros(len(names), np.int64)
        np.add.at(in_part, part_of_path, counts)
        by_part = [
            (name, count) for name, count in zip(names, in_part.tolist(), strict=True) if count
        ]
        in_band = np.bincount(self._band[positions], minlength=len(PRICE_BANDS) + 1).tolist()[:-1]
        bounds = zip(PRICE_BANDS, (*PRICE_BANDS[1:], None), in_band, strict=True)
        ordered = sorted(by_part, key=lambda item: (-item[1], item[0]))
        return Facets(
            [CategoryCount(path, count) for path, count in ordered],
            [PriceBand(low, high, count) for low, high, count in bounds],
            self.features.attributes.count_values(positions),
        )

    def _paths_under(self, prefixes: Sequence[str]) -> Mask:
        """Return a mask of the paths that equal a prefix or lie below one: bool, (paths,)."""
        mask = np.zeros(len(self.paths), np.bool_)
        for prefix in prefixes:
            matches = np.array([is_under(path, prefix) for path in self.paths], np.bool_)
            if not matches.any():
                raise UnknownCategoryError(prefix, self._suggestions(prefix))
            mask |= matches
        return mask

    def _suggestions(self, category: str) -> tuple[str, ...]:
        """Return paths whose full spelling or one of whose parts is similar, closest first."""
        paths_by_name: dict[str, dict[str, None]] = {}
        for path in self.paths:
            parts = path.split(SEPARATOR)
            for depth, part in enumerate(parts, 1):
                prefix = SEPARATOR.join(parts[:depth])
                for name in (prefix, part):
                    paths_by_name.setdefault(name.casefold(), {})[prefix] = None
        names = close_names(category[:MAX_QUOTED].casefold(), paths_by_name)
        paths = dict.fromkeys(path for name in names for path in paths_by_name[name])
        return tuple(paths)[:MAX_SUGGESTIONS] or self.categories


def _sorted_columns(listings: ListingTable, product_ids: IdColumn) -> dict[str, Any]:
    """Return the columns of some listings, each as an Arrow array.

    Raises:
        KeyError: a listing is unknown.
    """
    table = listings.table
    if listings.ids != product_ids:
        rows = listings.ids.find_all(product_ids)
        if (rows < 0).any():
            raise KeyError(product_ids[int(np.argmax(rows < 0))])
        table = table.take(rows)
    return {name: column_of(table, name) for name in table.column_names}


def _encode_labels(names: Any) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the distinct names, sorted, and the index of each name among them.

    Args:
        names: an Arrow array of strings.
    """
    encoded = names.dictionary_encode()
    labels = encoded.dictionary.to_pylist()
    ordered = tuple(sorted(labels))
    codes = {name: code for code, name in enumerate(ordered)}
    code_of = np.array([codes[name] for name in labels], np.int32)
    return ordered, code_of[np.from_dlpack(encoded.indices)]


def ranks(values: NDArray[np.float64]) -> NDArray[np.unsignedinteger]:
    """Return the rank of each value among the distinct ones, NaN last: (values,).

    The type is as small as possible: NumPy sorts 16-bit integers ten times as fast as others.
    """
    distinct, ranks = np.unique(values, return_inverse=True)
    return ranks.astype(np.min_scalar_type(len(distinct)))


def _group_places(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.int64]]:
    """Return the latitudes and longitudes of the distinct places, and each listing's place."""
    latitudes, longitudes = ranks(latitude).astype(np.int64), ranks(longitude).astype(np.int64)
    code = latitudes * (longitudes.max(initial=0) + 1) + longitudes
    _, example, place = np.unique(code, return_index=True, return_inverse=True)
    return (latitude[example], longitude[example]), place


def _next_parts(
    paths: Sequence[str], categories: tuple[str, ...]
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the paths cut to one part below the selected categories, and the index of each in these."""

    parts = [_next_part(path, categories) for path in paths]
    return _encode_labels(text_array(parts))


def _next_part(path: str, categories: Sequence[str]) -> str:
    """Return a path cut to one part below the selected category that contains it."""
    prefix = max((name for name in categories if is_under(path, name)), key=len, default="")
    depth = prefix.count(SEPARATOR) + 1 if prefix else 0
    return SEPARATOR.join(path.split(SEPARATOR)[: depth + 1])
