import numpy as np
import pytest

from fb_marketplace_serving.search.listings.attributes import (
    FACETS,
    MAX_VALUES,
    Attribute,
    AttributeCount,
    AttributeTable,
    attributes_text,
    find_attributes,
    listing_attributes,
)

BRANDS = frozenset(["ikea", "samsung", "silver cross"])


def found_in(text, brands=BRANDS):
    return [f"{kind}:{value}" for kind, value in find_attributes(text, brands)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6ft wooden fence panels", ["material:wood", "length:183 cm"]),
        ("1.5m curtain", ["length:150 cm"]),
        ("rug 2x3 m", ["length:200 cm", "length:300 cm"]),
        (
            "IKEA oak shelf 80 x 20cm",
            ["brand:ikea", "material:oak", "length:80 cm", "length:20 cm"],
        ),
        ('Samsung 32" LED TV UE32H4500', ["brand:samsung", "model:ue32h4500", "length:81.3 cm"]),
        ("phone 64gb space grey", ["colour:grey", "storage:64 GB"]),
        ("1TB drive", ["storage:1000 GB"]),
        ("trainers uk size 8, brand new", ["condition:new", "size:8"]),
        ("dress size medium", ["size:M"]),
        ("super king size bed", ["size:super king"]),
        ("dress 5-6 years", ["age:5-6 years"]),
        ("baby grow 3 to 6 months", ["age:3-6 months"]),
        ("two seater sofa", ["seats:2"]),
        ("Silver Cross pram", ["brand:silver cross"]),
        ("PS4 games", ["model:ps4"]),
        ("kettle 1.7 litre 3kw", ["volume:1.7 l", "power:3000 W"]),
    ],
)
def test_text_has_attributes(text, expected):
    assert found_in(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "table £20",
        "Pink Floyd records",
        "5G phone",
        "1st edition",
        "moved in 2 days",
        "8x4 boards",
        "4k tv",
        "ages 12-10 years",
    ],
)
def test_text_without_attributes(text):
    assert found_in(text) == []


def test_spellings_of_a_size_are_equal():
    assert found_in("6ft") == found_in("6 foot") == found_in("183 CM") == found_in("1.83 metres")


def test_unknown_brand_is_none():
    assert found_in("ikea lamp", frozenset()) == []


def test_title_takes_precedence_over_description():
    result = listing_attributes("red chair", "also in blue, 80 cm", BRANDS)

    assert result == (Attribute("colour", "red"), Attribute("length", "80 cm"))


def test_counts_are_by_kind_and_frequency():
    table = AttributeTable.from_texts(
        [
            "colour:red\ncolour:blue",
            "",
            "colour:red\nlength:80 cm",
            "brand:ikea\ncolour:blue\ncolour:red\nlength:80 cm",
            "brand:ikea",
        ]
    )

    ikea = AttributeCount("brand", "ikea", 2)
    red, blue = AttributeCount("colour", "red", 3), AttributeCount("colour", "blue", 2)
    assert table.count_values(np.arange(5)) == [ikea, red, blue]
    assert table.count_values(np.array([1, 2])) == []
    assert table.take(np.array([4, 2, 3])).count_values(np.array([0, 2])) == [ikea]


def test_counts_are_at_most_the_maximum():
    values = [f"size:{number}" for number in range(MAX_VALUES + 1)]

    table = AttributeTable.from_texts(["\n".join(values)] * 2)

    assert len(table.count_values(np.arange(2))) == MAX_VALUES


def test_mask_selects_listings_with_attribute():
    table = AttributeTable.from_texts(["colour:red", "", "size:8\ncolour:red"])

    assert table.mask("colour:red").tolist() == [True, False, True]
    assert not table.mask("colour:pink").any()


def test_text_of_attributes_can_be_read():
    attributes = find_attributes("Samsung tv, black", BRANDS)
    table = AttributeTable.from_texts([attributes_text(attributes)])

    assert [name.partition(":")[::2] for name in table.names] == list(attributes)
    assert {attribute.kind for attribute in attributes} <= set(FACETS)
