import math

import numpy as np
import pytest

from fb_marketplace_serving.search.listings.geo import EARTH_KM, distance_km

LONDON, EDINBURGH, NEW_YORK = (51.5074, -0.1278), (55.9533, -3.1883), (40.7128, -74.0060)


def along_the_chord(one, other):
    """The distance by another way: the angle between two directions from the centre of the Earth."""

    def direction(latitude, longitude):
        north, east = math.radians(latitude), math.radians(longitude)
        return np.array(
            [math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)]
        )

    a, b = direction(*one), direction(*other)
    return EARTH_KM * math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))


@pytest.mark.parametrize(
    ("one", "other", "km"), [(LONDON, EDINBURGH, 534), (LONDON, NEW_YORK, 5570)]
)
def test_distances_between_cities_match_an_atlas(one, other, km):
    assert distance_km(*one, *other) == pytest.approx(km, abs=2)


def test_distance_equals_other_formula():
    random = np.random.default_rng(0)
    for _ in range(200):
        (north, to_north), (east, to_east) = (
            random.uniform(-90, 90, 2),
            random.uniform(-180, 180, 2),
        )

        result = distance_km(north, east, to_north, to_east)

        expected = along_the_chord((north, east), (to_north, to_east))
        assert result == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_distance_to_itself_is_zero():
    assert distance_km(*LONDON, *LONDON) == 0


def test_distance_to_antipode_is_half_circumference():
    assert distance_km(0, 0, 0, 180) == pytest.approx(math.pi * EARTH_KM)
    assert distance_km(90, 0, -90, 77) == pytest.approx(math.pi * EARTH_KM)


def test_distance_crosses_date_line():
    assert distance_km(0, 179.9, 0, -179.9) == pytest.approx(distance_km(0, -0.1, 0, 0.1))


def test_distance_is_vectorized():
    places = np.array([LONDON, EDINBURGH, (np.nan, 1.0), (1.0, np.nan)])

    result = distance_km(*LONDON, places[:, 0], places[:, 1])

    assert result.shape == (4,)
    assert result[1] == distance_km(*LONDON, *EDINBURGH)
    assert np.isnan(result).tolist() == [False, False, True, True]
