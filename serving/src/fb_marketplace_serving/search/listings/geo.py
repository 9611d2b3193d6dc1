"""Distances between places."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

EARTH_KM: Final = 6371.0088
"""Mean radius of Earth, in km."""


def distance_km(
    latitude: ArrayLike, longitude: ArrayLike, to_latitude: ArrayLike, to_longitude: ArrayLike
) -> NDArray[np.float64]:
    """Compute great-circle distances (the haversine formula; Sinnott, 1984).

    Args:
        latitude: degrees north, of any shape.
        longitude: degrees east.
        to_latitude: latitude of the other end; shapes must broadcast.
        to_longitude: longitude of the other end.

    Returns:
        float64, kilometres, of the broadcast shape; NaN if a place is unknown. The error is at most 0.5 %,
        because Earth is not a sphere.
    """
    north, east, to_north, to_east = (
        np.radians(np.asarray(degrees, np.float64))
        for degrees in (latitude, longitude, to_latitude, to_longitude)
    )
    half = (
        np.sin((to_north - north) / 2) ** 2
        + np.cos(north) * np.cos(to_north) * np.sin((to_east - east) / 2) ** 2
    )
    distances: NDArray[np.float64] = 2 * EARTH_KM * np.arcsin(np.sqrt(np.minimum(half, 1.0)))
    return distances
