import io
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fb_marketplace_serving.search.listings.gazetteer import (
    COLUMNS,
    Gazetteer,
    GazetteerError,
    Row,
    UnknownPlaceError,
    fold_name,
)
from fb_marketplace_serving.search.suggestions import MAX_QUOTED, MAX_SUGGESTIONS


def town(name, latitude, longitude, population=1000, key=None, alias=False):
    return Row(
        name, key or fold_name(name), latitude, longitude, population, alias, math.nan, False
    )


def county(name, latitude, longitude, reach=60.0, is_compact=False):
    return Row(name, fold_name(name), latitude, longitude, 0, False, reach, is_compact)


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
    county("West Midlands", 52.5, -1.9, is_compact=True),
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
def test_town_is_found_in_any_spelling(known, typed):
    assert known.find(typed) == ("Leeds", 53.8, -1.5)


def test_ambiguous_town_is_the_most_populous(known):
    assert known.find("Newport").latitude == 51.6


def test_ambiguous_town_is_nearest_to_county_center(known):
    assert known.find("Newport, Isle of Wight").latitude == 50.7


def test_unknown_county_is_ignored(known):
    assert known.find("Newport, Gwent") == known.find("Newport, Wales, UK") == known.find("Newport")


def test_town_may_be_given_as_county(known):
    near = places(
        town("Richmond", 54.4, -1.7, 9_000),
        town("Richmond", 51.46, -0.3, 5_000),
        town("London", 51.5, -0.1, 9_000_000),
    )

    assert near.find("Richmond").latitude == 54.4
    assert near.find("Richmond, London").latitude == 51.46


def test_town_out_of_county_range_is_its_namesake(known):
    assert known.resolve("Leeds", "Devon") is None
    with pytest.raises(UnknownPlaceError, match="Leeds, Devon"):
        known.find("Leeds, Devon")


def test_compact_county_stands_for_unknown_town(known):
    assert known.resolve("Sparkhill", "West Midlands") == (("West Midlands", 52.5, -1.9), "county")
    assert known.resolve("Sparkhill", "Devon") is None
    assert known.resolve("Sparkhill") is None


def test_town_stands_for_unknown_part_of_it(known):
    assert known.resolve("East End", "Glasgow") == (("Glasgow", 55.9, -4.3), "county")


def test_county_alone_is_a_place_only_if_compact(known):
    assert known.find("west midlands").name == "West Midlands"
    with pytest.raises(UnknownPlaceError, match=r"'Devon'.*county"):
        known.find("Devon")


def test_alternate_name_counts_if_no_town_has_it(known):
    assert known.find("Londonderry").name == "Derry"
    assert known.find("Deri").latitude == 51.7


def test_unknown_place_suggests_similar_names(known):
    with pytest.raises(UnknownPlaceError, match=r"'Leedz'.*\bLeeds\b") as refused:
        known.find("Leedz")

    assert refused.value.suggestions[0] == "Leeds"
    assert isinstance(refused.value, ValueError)


def test_town_is_suggested_once(known):
    with pytest.raises(UnknownPlaceError) as refused:
        known.find("Londonderri")
    assert refused.value.suggestions == ("Derry",)

    names = [town("Ware", 51.8, 0.0, key=f"ware{end}", alias=bool(end)) for end in ("", "e", "h")]
    with pytest.raises(UnknownPlaceError) as refused:
        places(*names, town("Wareham", 50.7, -2.1)).find("wareha")
    assert refused.value.suggestions == ("Wareham", "Ware")


def test_suggestions_are_limited(known):
    many = places(*(town(f"Wareham {end}", 50.7, -2.1) for end in "abcdef"))
    with pytest.raises(UnknownPlaceError) as refused:
        many.find("Wareham")

    assert len(refused.value.suggestions) == MAX_SUGGESTIONS


@pytest.mark.parametrize("typed", ["", "   ", ",", "???", "x" * 10_000, "\U000108b0" * 64])
def test_invalid_name_gives_short_error(known, typed):
    with pytest.raises(UnknownPlaceError) as refused:
        known.find(typed)

    assert refused.value.suggestions == ()
    assert len(str(refused.value)) < 100 + MAX_QUOTED
    assert "\n" not in str(refused.value)


@given(st.lists(typed_pieces, max_size=5).map("".join))
def test_any_input_is_a_place_or_short_error(typed):
    try:
        named, message = [KNOWN.find(typed).name], ""
    except UnknownPlaceError as error:
        named, message = error.suggestions, str(error)

    assert all(KNOWN.resolve(name) for name in named)
    assert bool(message) or len(named) == 1
    assert len(message) < 200 + MAX_QUOTED
    assert "\n" not in message


@given(st.sampled_from(NAMES), st.sampled_from(["", *NAMES]), st.data())
def test_case_blanks_and_accents_are_ignored(town, county, data):
    blanks = st.text(" \t.-!", max_size=3)
    strange = (
        data.draw(blanks)
        + "".join(data.draw(st.sampled_from([letter.upper(), letter.lower()])) for letter in name)
        + data.draw(blanks)
        for name in (town, county)
    )

    result = KNOWN.resolve(*strange)

    assert result == KNOWN.resolve(town, county)


def test_invalid_bytes_are_rejected():
    with pytest.raises(GazetteerError, match="Parquet"):
        Gazetteer.from_bytes(b"nothing")
    buffer = io.BytesIO()
    pq.write_table(pa.table({"name": ["Leeds"]}), buffer)
    with pytest.raises(GazetteerError, match="columns"):
        Gazetteer.from_bytes(buffer.getvalue())
