"""Gazetteer: resolves names of towns and counties, by the same rules for listings and buyers."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, Self

from fb_marketplace_serving.search.listings.geo import distance_km
from fb_marketplace_serving.search.suggestions import (
    MAX_QUOTED,
    MAX_SUGGESTIONS,
    close_names,
    quote,
)
from fb_marketplace_serving.search.tokenizer import words
from fb_marketplace_serving.storage.parquet import read_parquet

COLUMNS: Final = (
    "name",
    "key",
    "latitude",
    "longitude",
    "population",
    "alias",
    "reach_km",
    "is_compact",
)

REACH_KM: Final = 40.0
"""If a town qualifies a place ("Richmond, London"), the place must be within this distance of the town."""

SEPARATOR: Final = ","
"""Separator of a town and its county."""

_CENTRES: Final = (" city centre", " town centre")


class GazetteerError(ValueError):
    """Bytes that are not a gazetteer."""


class UnknownPlaceError(ValueError):
    """A text that names no known town.

    Attributes:
        suggestions: names of similar spelling.
    """

    def __init__(self, message: str, suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.suggestions = suggestions


class Place(NamedTuple):
    """A place.

    Attributes:
        name: display name.
        latitude: degrees north.
        longitude: degrees east.
    """

    name: str
    latitude: float
    longitude: float


class ResolvedPlace(NamedTuple):
    """The place that a name resolves to.

    Attributes:
        place: the place.
        level: whether the town was resolved, or only its county.
    """

    place: Place
    level: Literal["town", "county"]


class Row(NamedTuple):
    """A name of a place. The fields are the columns of the artifact, in order.

    Attributes:
        name: display name.
        key: a name of the place, from :func:`fold_name`.
        latitude: degrees north.
        longitude: degrees east.
        population: inhabitants; 0 for a county.
        alias: whether the key is an alternative name. Places with this proper name take precedence.
        reach_km: for a county, the maximum distance of its places from its centre; NaN for a town.
        is_compact: whether a county is compact enough for its centre to represent any place in it.
    """

    name: str
    key: str
    latitude: float
    longitude: float
    population: int
    alias: bool
    reach_km: float
    is_compact: bool

    @property
    def place(self) -> Place:
        """The place."""
        return Place(self.name, self.latitude, self.longitude)


def fold_name(name: str) -> str:
    """Return a normalized name for comparison: its words in lower case, without accents."""
    return " ".join(words(name))


class Gazetteer:
    """The towns and counties of a country. Thread-safe."""

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        """Index names of places.

        Args:
            columns: one column per field of :class:`Row`.
        """
        # Rows are created on demand: creating all of them would dominate the time to open.
        self._columns = columns
        self._towns: dict[str, list[int]] = {}
        self._counties: dict[str, int] = {}
        _, keys, *_, reaches, _ = columns
        for number, (key, reach) in enumerate(zip(keys, reaches, strict=True)):
            if math.isnan(reach):
                self._towns.setdefault(key, []).append(number)
            else:
                self._counties[key] = number

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the artifact ``gazetteer``.

        Args:
            data: Parquet with ``COLUMNS``.

        Raises:
            GazetteerError: the bytes are not Parquet with these columns.
        """
        return cls(
            [column.to_pylist() for column in read_parquet(data, COLUMNS, GazetteerError).columns]
        )

    def find(self, text: str) -> Place:
        """Return the place that a user has typed: a town, or a town and its county ("Newport, Gwent").

        Raises:
            UnknownPlaceError: no town matches. The error has suggestions.
        """
        town, county = [*text.split(SEPARATOR), ""][:2]
        resolved = self.resolve(town, county)
        if resolved is None:
            raise self._unknown(text, fold_name(town))
        return resolved.place

    def resolve(self, town: str, county: str | None = None) -> ResolvedPlace | None:
        """Return the place of a town in a county; None if no place matches.

        If several towns have this name, the result is the one nearest to the centre of the county. Towns
        beyond the county's reach do not match. The county may also be a town ("Richmond, London"). If the
        county is unknown, the result is the most populous town. If no town matches, the result is the
        centre of the county, provided that the county is compact ("East End, Glasgow").
        """
        area = self._area(fold_name(county or ""))
        towns = self._towns_named(fold_name(town))
        if area is None:
            match = _most_populous(towns)
            area = self._county(fold_name(town))
        else:
            match = _nearest(towns, area)
        if match is not None:
            return ResolvedPlace(match.place, "town")
        if area is not None and area.is_compact:
            return ResolvedPlace(area.place, "county")
        return None

    def has_name(self, text: str) -> bool:
        """Return whether a text is the name of a town or county."""
        key = fold_name(text)
        return key in self._towns or key in self._counties

    def towns(self) -> Iterator[tuple[str, int]]:
        """Yield the proper name and the population of each town."""
        names, _, _, _, populations, aliases, reaches, _ = self._columns
        for name, population, alias, reach in zip(
            names, populations, aliases, reaches, strict=True
        ):
            if not alias and math.isnan(reach):
                yield name, population

    def _area(self, key: str) -> Row | None:
        """Return the county of this name, or else the town of this name with a reach of ``REACH_KM``."""
        if key in self._counties:
            return self._county(key)
        town = _most_populous([row for row in self._towns_named(key) if not row.alias])
        return None if town is None else town._replace(reach_km=REACH_KM, is_compact=True)

    def _county(self, key: str) -> Row | None:
        return self._row(self._counties[key]) if key in self._counties else None

    def _towns_named(self, key: str) -> list[Row]:
        """Return the towns of this name. "Leeds city centre" is Leeds."""
        for suffix in ("", *_CENTRES):
            if key.endswith(suffix) and key.removesuffix(suffix) in self._towns:
                return [self._row(number) for number in self._towns[key.removesuffix(suffix)]]
        return []

    def _row(self, number: int) -> Row:
        return Row(*(column[number] for column in self._columns))

    def _unknown(self, text: str, key: str) -> UnknownPlaceError:
        quoted = quote(text.strip())
        if key in self._counties:
            return UnknownPlaceError(f"{quoted} is a county; expected a town in it")
        if self._towns_named(key):
            return UnknownPlaceError(
                f"{quoted} is not a known town of that county; use another town nearby"
            )
        suggestions = self._suggestions(key[:MAX_QUOTED])
        examples = f", such as {' or '.join(suggestions)}" if suggestions else ""
        return UnknownPlaceError(
            f"{quoted} is not a known town; use a larger town nearby{examples}",
            suggestions,
        )

    def _suggestions(self, key: str) -> tuple[str, ...]:
        """Return names of towns of similar spelling, closest first.

        Only towns with the same first letter are compared: comparing with all takes some 50 ms.
        """
        names = [name for name in self._towns if name[:1] == key[:1]]
        matches = close_names(key, names, 2 * MAX_SUGGESTIONS)
        towns = [_most_populous(self._towns_named(name)) for name in matches]
        return tuple(dict.fromkeys(town.name for town in towns if town is not None))[
            :MAX_SUGGESTIONS
        ]


def _most_populous(rows: list[Row]) -> Row | None:
    return min(rows, key=lambda row: (row.alias, -row.population), default=None)


def _nearest(rows: list[Row], area: Row) -> Row | None:
    """Return the row nearest to the centre of an area, within its reach; aliases come last."""
    distances = distance_km(
        area.latitude,
        area.longitude,
        [row.latitude for row in rows],
        [row.longitude for row in rows],
    ).tolist()
    within = [
        (row.alias, distance, number)
        for number, (row, distance) in enumerate(zip(rows, distances, strict=True))
        if distance <= area.reach_km
    ]
    return rows[min(within)[2]] if within else None
