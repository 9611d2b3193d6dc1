"""Places by name: where a listing is offered, and where a buyer asks from. One rule finds both."""

import difflib
import io
import math
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, Self

from fb_marketplace_serving.search.geo import distance_km
from fb_marketplace_serving.search.tokenizer import words

COLUMNS: Final = (
    "name",
    "key",
    "latitude",
    "longitude",
    "population",
    "alias",
    "reach_km",
    "stands_in",
)

REACH_KM: Final = 40.0
"""A place further than this from the town that is named beside it is another of the same name."""

SEPARATOR: Final = ","
"""Between a town and its county."""

CLOSE: Final = 0.75
"""How alike two spellings are that may be meant for one another, as difflib counts it."""

CLOSEST: Final = 3
"""Names that an error proposes."""

SHOWN: Final = 60
"""Characters of what was typed that an error repeats."""

_CENTRES: Final = (" city centre", " town centre")


class GazetteerError(ValueError):
    """Bytes that are no places; says what was found and what was expected."""


class UnknownPlaceError(ValueError):
    """What was typed names no place.

    Attributes:
        close: names that are spelled nearly so.
    """

    def __init__(self, message: str, close: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.close = close


class Place(NamedTuple):
    """A place.

    Attributes:
        name: as it is shown.
        latitude: degrees north.
        longitude: degrees east.
    """

    name: str
    latitude: float
    longitude: float


class ResolvedPlace(NamedTuple):
    """Where a name led.

    Attributes:
        place: the place.
        by: what led there: the town itself, or only its county.
    """

    place: Place
    by: Literal["town", "county"]


class Row(NamedTuple):
    """A name of a place; its fields are the columns of the artifact, in order.

    Attributes:
        name: the place's name, as it is shown.
        key: a name of it, folded.
        latitude: degrees north.
        longitude: degrees east.
        population: who live there; 0 of a county.
        alias: whether the key means this place only where no place is called so.
        reach_km: of a county, how far from its middle a place of it may be; NaN of a town.
        stands_in: whether it is close enough together for its middle to stand for any place in it.
    """

    name: str
    key: str
    latitude: float
    longitude: float
    population: int
    alias: bool
    reach_km: float
    stands_in: bool

    @property
    def place(self) -> Place:
        """The place."""
        return Place(self.name, self.latitude, self.longitude)


def fold_name(name: str) -> str:
    """Give a name as it is compared: its words in lower case, without accents."""
    return " ".join(words(name))


class Gazetteer:
    """The towns and counties of a country. Safe to share between threads."""

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        """Take names of places: the fields of :class:`Row`, a column each."""
        # A row is made when it is asked for: all of them would take most of the time of opening.
        self._columns = columns
        self._towns: dict[str, list[int]] = {}
        self._counties: dict[str, int] = {}
        _, keys, *_, reaches, _ = columns
        for at, (key, reach) in enumerate(zip(keys, reaches, strict=True)):
            if math.isnan(reach):
                self._towns.setdefault(key, []).append(at)
            else:
                self._counties[key] = at

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the places of a release.

        Args:
            data: Parquet of ``COLUMNS``.

        Raises:
            PlacesError: it is something else.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table: Any = pq.ParquetFile(io.BytesIO(data)).read()
        except (pa.ArrowInvalid, OSError) as error:
            raise GazetteerError(
                f"found {len(data):,} bytes that are no Parquet ({error})"
            ) from error
        if tuple(table.column_names) != COLUMNS:
            raise GazetteerError(f"found the columns {table.column_names}; expected {COLUMNS}")
        return cls([column.to_pylist() for column in table.columns])

    def find(self, text: str) -> Place:
        """Find the place that somebody typed: a town, or a town and its county ("Newport, Gwent").

        Raises:
            UnknownPlaceError: there is none; names what is spelled nearly so.
        """
        town, county = [*text.split(SEPARATOR), ""][:2]
        found = self.resolve(town, county)
        if found is None:
            raise self._unknown(text, fold_name(town))
        return found.place

    def resolve(self, town: str, county: str | None = None) -> ResolvedPlace | None:
        """Find the place that a town and its county name; None where there is none.

        Of several towns of one name it is the one nearest to the middle of the county: of a known county,
        else of the town that the county is named for ("Richmond, London"). One beyond the county's reach is
        another of the same name. Without a county that is either, it is the most populous. Where there is
        no such town, the county stands for it if its places lie close together ("East End, Glasgow").
        """
        area = self._area(fold_name(county or ""))
        called = self._called(fold_name(town))
        if area is None:
            found = _most_populous(called)
            area = self._county(fold_name(town))
        else:
            found = _nearest(called, area)
        if found is not None:
            return ResolvedPlace(found.place, "town")
        if area is not None and area.stands_in:
            return ResolvedPlace(area.place, "county")
        return None

    def _area(self, key: str) -> Row | None:
        """Give the county of this name, or what is around the town of this name."""
        if key in self._counties:
            return self._county(key)
        town = _most_populous([row for row in self._called(key) if not row.alias])
        return None if town is None else town._replace(reach_km=REACH_KM, stands_in=True)

    def _county(self, key: str) -> Row | None:
        return self._row(self._counties[key]) if key in self._counties else None

    def _called(self, key: str) -> list[Row]:
        """Give the towns of this name; the centre of a town is the town."""
        for suffix in ("", *_CENTRES):
            if key.endswith(suffix) and key.removesuffix(suffix) in self._towns:
                return [self._row(at) for at in self._towns[key.removesuffix(suffix)]]
        return []

    def _row(self, at: int) -> Row:
        return Row(*(column[at] for column in self._columns))

    def _unknown(self, text: str, key: str) -> UnknownPlaceError:
        shown = repr(text.strip()[:SHOWN])
        if key in self._counties:
            return UnknownPlaceError(f"found {shown}, a county; expected a town: name one in it")
        if self._called(key):
            return UnknownPlaceError(
                f"found {shown}, where no town of that name is known; expected one: name another near it"
            )
        close = self._spelled_nearly(key[:SHOWN])
        such = f" such as {' or '.join(close)}" if close else ""
        return UnknownPlaceError(
            f"found {shown}, which names no known town; expected one{such}: name a larger one near it",
            close,
        )

    def _spelled_nearly(self, key: str) -> tuple[str, ...]:
        """Give the names of towns that may be meant, the likeliest first.

        Their first letters are right: comparing with all towns would take some fifty milliseconds.
        """
        alike = [each for each in self._towns if each[:1] == key[:1]]
        found = difflib.get_close_matches(key, alike, 2 * CLOSEST, CLOSE)
        towns = [_most_populous(self._called(each)) for each in found]
        return tuple(dict.fromkeys(town.name for town in towns if town is not None))[:CLOSEST]


def _most_populous(rows: list[Row]) -> Row | None:
    return min(rows, key=lambda row: (row.alias, -row.population), default=None)


def _nearest(rows: list[Row], area: Row) -> Row | None:
    """Give the one nearest to the middle of an area, within its reach."""
    away = distance_km(
        area.latitude,
        area.longitude,
        [row.latitude for row in rows],
        [row.longitude for row in rows],
    ).tolist()
    there = [(row.alias, apart, at) for at, (row, apart) in enumerate(zip(rows, away, strict=True))]
    _, _, first = min((each for each in there if each[1] <= area.reach_km), default=(0, 0, None))
    return None if first is None else rows[first]
