"""Query parser, on written queries with labels (``written_queries.csv``)."""

import csv
import math
from pathlib import Path

import pytest

from fb_marketplace_serving.search.listings.gazetteer import (
    Gazetteer,
    Row,
    UnknownPlaceError,
    fold_name,
)
from fb_marketplace_serving.search.query.parser import NearPlace, category_names, parse_query

TOWNS = [
    *[
        "Aberdeen",
        "Ash",
        "Bath",
        "Battle",
        "Belfast",
        "Bolton",
        "Box",
        "Bristol",
        "Case",
        "Chelsea",
    ],
    *["Cheddar", "Deal", "Derby", "Dundee", "Edinburgh", "Exeter", "Leeds", "Leicester", "Lincoln"],
    *[
        "London",
        "Manchester",
        "Milton Keynes",
        "Newcastle upon Tyne",
        "Newport",
        "Plymouth",
        "Reading",
    ],
    *[
        "Richmond",
        "Rugby",
        "Sale",
        "Sandwich",
        "Sheffield",
        "Stock",
        "Stockport",
        "Stone",
        "Street",
    ],
    *["Wall", "Wellington", "Wigan", "Wool", "York"],
]
PATHS = {
    "Home & Garden / Bookcases": 9,
    "Home & Garden / Chairs": 8,
    "Home & Garden / Tables": 7,
    "Home & Garden / Sofas": 6,
    "Home & Garden / Lamps": 5,
    "Office / Desks": 4,
    "Sport / Bikes": 3,
    "Computers / Laptops": 2,
    "Other": 1,
}
CATEGORIES = {name: paths[0] for name, paths in category_names(PATHS).items()}
QUERIES = list(
    csv.DictReader(Path(__file__).with_name("written_queries.csv").open("r", encoding="utf-8"))
)
MIN_CORRECT = 0.95


def build_gazetteer():
    rows = [Row(name, fold_name(name), 52.0, -1.0, 9, False, math.nan, False) for name in TOWNS]
    rows.append(Row("Gwent", "gwent", 52.0, -1.0, 0, False, 60.0, False))
    return Gazetteer(list(zip(*rows, strict=True)))


GAZETTEER = build_gazetteer()


def find_town(name):
    try:
        _, _, county = name.partition(",")
        return GAZETTEER.find(name).name if not county or GAZETTEER.has_name(county) else None
    except UnknownPlaceError:
        return None


def parse(text, **options):
    return parse_query(text, find_town, CATEGORIES, **options)


def describe(parsed):
    """Return a parsed query in the notation of the file."""
    low, high = parsed.price
    bounds = [f"{bound:g}" if bound is not None else "" for bound in (low, high)]
    price = "cheap" if parsed.is_cheap else "..".join(bounds) if any(bounds) else ""
    place = parsed.place
    return {
        "words": parsed.words,
        "price": price,
        "place": f"{place.name or 'me'} {place.radius_km:.0f}" if place else "",
        "labels": " ".join(
            f"{phrase.kind}:{phrase.value.split(' / ')[-1]}"
            for phrase in sorted(parsed.phrases, key=lambda p: (p.kind == "category", p.start))
            if isinstance(phrase.value, str)
        ),
    }


def wrong_queries():
    return [
        (expected["query"], name, found, expected[name])
        for expected in QUERIES
        for name, found in describe(parse(expected["query"])).items()
        if found != expected[name]
    ]


def test_written_queries_are_parsed_as_labelled():
    wrong = {query for query, *_ in wrong_queries()}

    assert len(QUERIES) >= 200
    assert len(wrong) <= (1 - MIN_CORRECT) * len(QUERIES), wrong


def test_wrongly_parsed_queries_are_known():
    assert {query for query, *_ in wrong_queries()} == {
        "50p coin kew gardens",  # labelled as the category "Home & Garden"
        "around London by bike book",  # a place
        "20-30 nappies",  # a price
    }


@pytest.mark.parametrize("kind", ["price", "place", "category", "condition", "colour", "reference"])
def test_ignored_kind_is_not_found(kind):
    text = "this but new red chair under £50 in Leeds"

    kinds = [phrase.kind for phrase in parse(text).phrases]
    others = [phrase.kind for phrase in parse(text, ignored=frozenset({kind})).phrases]

    assert sorted(kinds) == ["category", "colour", "condition", "place", "price", "reference"]
    assert sorted([*others, kind]) == sorted(kinds)


def test_ignored_price_stays_in_words():
    parsed = parse("chair under £50 in Leeds", ignored=frozenset({"price"}))

    assert parsed.words == "chair under £50"


@pytest.mark.parametrize("text", ["oak bookcase", "  Grand-père's  table, 2 m. ", "new red chair"])
def test_query_without_filters_keeps_its_text(text):
    assert parse(text).words == text


def test_phrase_is_quoted_as_typed():
    text = "Sofa UNDER £50 In Leeds"

    phrases = [(phrase.text, text[phrase.start : phrase.end]) for phrase in parse(text).phrases]

    assert phrases == [(quote, quote) for quote in ("Sofa", "UNDER £50", "In Leeds")]


@pytest.mark.parametrize("text", ["desk under €50", "desk under 50 euros", "desk under $50"])
def test_price_in_another_currency_is_no_price(text):
    assert parse(text).words == text


def test_price_in_currency_of_listings_is_price():
    assert parse("desk under €50", currencies=frozenset({"EUR"})).price.max_price == 50


def test_unknown_town_is_no_place():
    assert parse("sofa in Atlantis").place is None


def test_category_with_most_listings_comes_first():
    names = category_names({"A / Lamps": 1, "B / Lamps": 2, "B / Beds, Cots & Bunks": 1})

    assert names["lamp",] == ["B / Lamps", "A / Lamps"]
    assert names["cot",] == ["B / Beds, Cots & Bunks"]


def test_distance_is_radius_of_place():
    assert parse("sofa within 3 km of Leeds").place == NearPlace("Leeds", 3.0)
