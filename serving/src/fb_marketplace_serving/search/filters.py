"""What a buyer narrows a search to."""

from typing import Final, NamedTuple

SEPARATOR: Final = " / "
"""Between the parts of a category path, as cleaning writes them."""


class GeoFilter(NamedTuple):
    """Around a place.

    Attributes:
        latitude: degrees north.
        longitude: degrees east.
        radius_km: no further than this; without it, any distance, which is only told.
    """

    latitude: float
    longitude: float
    radius_km: float | None = None


class SearchFilters(NamedTuple):
    """What a listing has to be. Without values it may be anything.

    Attributes:
        categories: category paths, or beginnings of some: of one it has to be, or lie below it.
        min_price: the least that it may cost; a listing without a price is kept by no bound of a price.
        max_price: the most that it may cost.
        near: where; a listing of an unknown place is kept by no radius.
        has_photo: whether it has to have a photo, or none; of either kind where this is not given.
    """

    categories: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    near: GeoFilter | None = None
    has_photo: bool | None = None


def is_under(path: str, prefix: str) -> bool:
    """Tell whether a category path is a prefix, or lies below it."""
    return path == prefix or path.startswith(prefix + SEPARATOR)
