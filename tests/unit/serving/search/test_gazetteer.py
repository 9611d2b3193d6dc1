import io
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fb_marketplace_serving.search.gazetteer import (
    CLOSEST,
    COLUMNS,
    SHOWN,
    Gazetteer,
    GazetteerError,
    Row,
    UnknownPlaceError,
    fold_name,
)


def town(name, latitude, longitude, population=1000, key=None, alias=False):
    return Row(
        name, key or fold_name(name), latitude, longitude, population, alias, math.nan, False
    )


def county(name, latitude, longitude, reach=60.0, stands_in=False):
    return Row(name, fold_name(name), latitude, longitude, 0, False, reach, stands_in)


def parquet(rows):
    columns = [list(column) for column in zip(*rows, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(zip(COLUMNS, columns, strict=True))), buffer)
    return buffer.getvalue()


def places(*rows):
    return Gazetteer.from_bytes(parquet(rows))


KNOWN = places(
    town("Leeds", 53.8, -1.5, 500_000),
    town("Leek", 53.1, -2.0, 20_000),
    town("Newport", 51.6, -3.0, 160_000),
    town("Newport", 50.7, -1.3, 25_000),
    town("Newport", 50.8, -1.2, 300),
    town("Glasgow", 55.9, -4.3, 600_000),
    town("Deri", 51.7, -3.3, 1_000),
    town("Derry", 55.0, -7.3, 80_000),
    town("Derry", 55.0, -7.3, 80_000, key="deri", alias=True),
    town("Derry", 55.0, -7.3, 80_000, key="londonderry", alias=True),
    county("Isle of Wight", 50.7, -1.3),
    county("Devon", 50.7, -3.8),
    county("West Midlands", 52.5, -1.9, stands_in=True),
)

NAMES = (
    "Leeds",
    "Leek",
    "Newport",
    "Glasgow",
    "Deri",
    "Derry",
    "Londonderry",
    "Devon",
    "Isle of Wight",
)
typed_pieces = st.one_of(st.sampled_from([*NAMES, "city centre", ",", " "]), st.text(max_size=8))


@pytest.fixture
def known():
    return KNOWN


@pytest.mark.parametrize("typed", ["Leeds", "  leeds ", "LEEDS", "Lééds", "Leeds city centre"])
def test_a_town_is_found_however_it_is_typed(known, typed):
    assert known.find(typed) == ("Leeds", 53.8, -1.5)


def test_of_towns_of_one_name_the_most_populous_is_meant(known):
    assert known.find("Newport").latitude == 51.6


def test_of_towns_of_one_name_the_one_nearest_to_the_middle_of_the_county_is_meant(known):
    assert known.find("Newport, Isle of Wight").latitude == 50.7


def test_a_county_that_is_not_known_changes_nothing(known):
    assert known.find("Newport, Gwent") == known.find("Newport, Wales, UK") == known.find("Newport")


def test_a_town_may_stand_where_a_county_does(known):
    near = places(
        town("Richmond", 54.4, -1.7, 9_000),
        town("Richmond", 51.46, -0.3, 5_000),
        town("London", 51.5, -0.1, 9_000_000),
    )

    assert near.find("Richmond").latitude == 54.4
    assert near.find("Richmond, London").latitude == 51.46


def test_a_town_beyond_the_reach_of_its_county_is_another_of_the_same_name(known):
    assert known.resolve("Leeds", "Devon") is None
    with pytest.raises(UnknownPlaceError, match="Leeds, Devon"):
        known.find("Leeds, Devon")


def test_a_county_stands_for_a_place_that_is_not_known_where_its_places_lie_close_together(known):
    assert known.resolve("Sparkhill", "West Midlands") == (("West Midlands", 52.5, -1.9), "county")
    assert known.resolve("Sparkhill", "Devon") is None
    assert known.resolve("Sparkhill") is None


def test_a_town_stands_for_a_place_in_it_that_is_not_known(known):
    assert known.resolve("East End", "Glasgow") == (("Glasgow", 55.9, -4.3), "county")


def test_a_county_alone_is_a_place_only_where_its_places_lie_close_together(known):
    assert known.find("west midlands").name == "West Midlands"
    with pytest.raises(UnknownPlaceError, match=r"'Devon'.*county"):
        known.find("Devon")


def test_another_name_of_a_town_counts_where_no_town_is_called_so(known):
    assert known.find("Londonderry").name == "Derry"
    assert known.find("Deri").latitude == 51.7


def test_what_is_no_place_is_told_what_is_spelled_nearly_so(known):
    with pytest.raises(UnknownPlaceError, match=r"'Leedz'.*\bLeeds\b") as refused:
        known.find("Leedz")

    assert refused.value.close[0] == "Leeds"
    assert isinstance(refused.value, ValueError)


def test_a_town_is_proposed_once_however_many_of_its_names_are_near(known):
    with pytest.raises(UnknownPlaceError) as refused:
        known.find("Londonderri")
    assert refused.value.close == ("Derry",)

    names = [town("Ware", 51.8, 0.0, key=f"ware{end}", alias=bool(end)) for end in ("", "e", "h")]
    with pytest.raises(UnknownPlaceError) as refused:
        places(*names, town("Wareham", 50.7, -2.1)).find("wareha")
    assert refused.value.close == ("Wareham", "Ware")


def test_few_towns_are_proposed(known):
    many = places(*(town(f"Wareham {end}", 50.7, -2.1) for end in "abcdef"))
    with pytest.raises(UnknownPlaceError) as refused:
        many.find("Wareham")

    assert len(refused.value.close) == CLOSEST


@pytest.mark.parametrize("typed", ["", "   ", ",", "???", "x" * 10_000])
def test_what_is_no_name_is_refused_in_a_short_line(known, typed):
    with pytest.raises(UnknownPlaceError) as refused:
        known.find(typed)

    assert refused.value.close == ()
    assert len(str(refused.value)) < 100 + SHOWN
    assert "\n" not in str(refused.value)


@given(st.lists(typed_pieces, max_size=5).map("".join))
def test_whatever_is_typed_names_a_known_place_or_is_refused_in_a_short_line(typed):
    try:
        named, said = [KNOWN.find(typed).name], ""
    except UnknownPlaceError as error:
        named, said = error.close, str(error)

    assert all(KNOWN.resolve(name) for name in named)
    assert bool(said) or len(named) == 1
    assert len(said) < 200 + SHOWN
    assert "\n" not in said


@given(st.sampled_from(NAMES), st.sampled_from(["", *NAMES]), st.data())
def test_neither_case_nor_blanks_nor_marks_change_what_is_found(town, county, data):
    blanks = st.text(" \t.-!", max_size=3)
    strange = (
        data.draw(blanks)
        + "".join(data.draw(st.sampled_from([letter.upper(), letter.lower()])) for letter in name)
        + data.draw(blanks)
        for name in (town, county)
    )

    found = KNOWN.resolve(*strange)

    assert found == KNOWN.resolve(town, county)


def test_bytes_that_are_no_places_are_refused():
    with pytest.raises(GazetteerError, match="Parquet"):
        Gazetteer.from_bytes(b"nothing")
    buffer = io.BytesIO()
    pq.write_table(pa.table({"name": ["Leeds"]}), buffer)
    with pytest.raises(GazetteerError, match="columns"):
        Gazetteer.from_bytes(buffer.getvalue())
