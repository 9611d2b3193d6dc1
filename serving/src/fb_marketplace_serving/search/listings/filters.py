"""Filters of a search."""

from typing import Final, NamedTuple

SEPARATOR: Final = " / "
"""Separator of the parts of a category path, as cleaning writes it."""


class GeoFilter(NamedTuple):
    """A buyer's location.

    Attributes:
        latitude: degrees north.
        longitude: degrees east.
        radius_km: maximum distance; with None, distances are reported but do not filter.
    """

    latitude: float
    longitude: float
    radius_km: float | None = None


class SearchFilters(NamedTuple):
    """Conditions on a listing. The default matches every listing.

    Attributes:
        categories: category paths; a listing must be in one of them or below it. Empty for all.
        min_price: lower bound. A price bound excludes listings without a price.
        max_price: upper bound.
        location: the buyer's location. A radius excludes listings whose location is unknown.
        has_photo: True requires a photo, False excludes photos, None allows both.
        attributes: attributes that a listing must have, each as ``kind:value``.
    """

    categories: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    location: GeoFilter | None = None
    has_photo: bool | None = None
    attributes: tuple[str, ...] = ()


NO_FILTERS: Final = SearchFilters()


def is_under(path: str, prefix: str) -> bool:
    """Return whether a category path equals a prefix or lies below it."""
    return path == prefix or path.startswith(prefix + SEPARATOR)
