import numpy as np
import pytest

from fb_marketplace_serving.search.listings.attribute_table import (
    FACETS,
    MAX_VALUES,
    AttributeCount,
    AttributeTable,
    attributes_text,
)
from fb_marketplace_serving.search.listings.attributes import (
    Attribute,
    find_attributes,
    listing_attributes,
)

BRANDS = frozenset(["ikea", "samsung"])


def attribute_names(text, brands=BRANDS):
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
        ("PS4 games", ["model:ps4"]),
        ("kettle 1.7 litre 3kw", ["volume:1.7 l", "power:3000 W"]),
        ("Never used, still in box", ["condition:new"]),
        ("it has never been used", ["condition:new"]),
        ("us size 9", ["size:9"]),
        ("size UK 7.5", ["size:7.5"]),
        ("eu 42 boots", ["size:42"]),
        ("size 12 in total", ["size:12"]),
        ("size 7.5cm", ["length:7.5 cm"]),
        ("1,500w heater", ["power:1500 W"]),
        ("1,024 GB", ["storage:1020 GB"]),
        ("10in tablet", ["length:25.4 cm"]),
        ("10 x 12 in", ["length:25.4 cm", "length:30.5 cm"]),
        ("double bedding", ["size:double"]),
        ("12-18 months", ["age:12-18 months"]),
        ("size s", ["size:S"]),
        ("size:xl", ["size:XL"]),
        ("3+2 seater sofa", ["seats:3", "seats:2"]),
        ("2.5 seater", ["seats:2.5"]),
        ("three & two seater", ["seats:3", "seats:2"]),
        ("2.5+3 seater", ["seats:2.5", "seats:3"]),
        ("3 and 2 seater", ["seats:3", "seats:2"]),
        ("laptop 8 gb ram 256 gb ssd", ["storage:256 GB"]),
        ("laptop 8GB of RAM, 256GB SSD", ["storage:256 GB"]),
        ("laptop 8gb ddr4 ram 256gb ssd", ["storage:256 GB"]),
        ("phone 4 gb ram 64 gb rom", ["storage:64 GB"]),
        ("laptop i7 16gb 512gb nvidia", ["storage:512 GB"]),
        ("laptop 8gb 256gb amd", ["storage:256 GB"]),
        ("16gb and 128gb", ["storage:16 GB", "storage:128 GB"]),
        ("2 x 1TB hard drives", ["storage:1000 GB"]),
        ("3 x 64gb usb sticks", ["storage:64 GB"]),
        ("speaker 2x100w", ["power:100 W"]),
        ("microwave 20l 800w", ["volume:20 l", "power:800 W"]),
        ("vacuum 2 l 700w", ["volume:2 l", "power:700 W"]),
        ("kettle 1.7 l 2200w 240v", ["volume:1.7 l", "power:2200 W"]),
        ("h 97cm l 66 w 61", ["length:97 cm"]),
        ("boys clothes 5-6 years old", ["age:5-6 years"]),
        ("kids bike 5-7 year old", ["age:5-7 years"]),
        ("used 2-3 years", ["condition:used"]),
        ("laptop 8gb ram 256gb ssd", ["storage:256 GB"]),
        ("16 GB DDR4, 1TB", ["storage:1000 GB"]),
        ("phone 12g ram 512gb", ["storage:512 GB"]),
        ("laptop i5 8gb 256gb", ["storage:256 GB"]),
        ("ram 8gb, 1tb", ["storage:1000 GB"]),
        ("64gb or 128gb", ["storage:64 GB", "storage:128 GB"]),
        ("120gb ssd and 1tb", ["storage:120 GB", "storage:1000 GB"]),
        ("for 8-12 years old", ["age:8-12 years"]),
        ("lamp 60w", ["power:60 W"]),
        ("heater 2000w 45 cm", ["length:45 cm", "power:2000 W"]),
        ("Samsung phone, case for Ikea", ["brand:samsung"]),
    ],
)
def test_text_has_attributes(text, expected):
    assert attribute_names(text) == expected


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
        "Silver Cross pram",
        "Call us 07700900123",
        "call us 8 to 5",
        "postage uk 4.99",
        "uk small business",
        "pressing UK 1983",
        "pressing uk1983",
        "size 7.5/8",
        "3,4,500w",
        "1/2 inch",
        "1/2inch",
        "10 in total",
        "3 in 1",
        "2-in-1",
        "3in1 jacket",
        "double bedside table",
        "single bedroom flat",
        "2-3m long cable",
        "12-18m",
        f"{'9' * 400} cm",
        "999,999 m",
        "all sizes",
        "sizes m to xl",
        "every single penny",
        "desk 60d x 60w x 100h",
        "h 97 l 66 w 61",
        "w 60 l 90",
        "case for Samsung phones",
        "case for the samsung",
        "case fits all ikea",
        "TV for sale 3-4 years old",
        "fits well, 3-4 years old",
        "sofa with 2-3 years warranty",
        "size s/m",
        "size m-l",
        "size small/medium",
        "size 8 to 10",
        "size 8 or 10",
        "like ikea",
        "2.4g remote",
        "8MB cache",
        "2x8GB kit",
        "16gb unified memory",
        "juicer 3-4 years old",
        "3.5-12 years",
        "bag size 32 x 30",
        "sofa size 3+2",
        "9oz flask",
        "80gsm paper",
        "rtx with 8gb gddr6",
    ],
)
def test_text_without_attributes(text):
    assert attribute_names(text) == []


def test_spellings_of_a_size_are_equal():
    assert (
        attribute_names("6ft")
        == attribute_names("6 foot")
        == attribute_names("183 CM")
        == attribute_names("1.83 metres")
    )


def test_unknown_brand_is_none():
    assert attribute_names("ikea lamp", frozenset()) == []


def test_title_takes_precedence_over_description():
    result = listing_attributes("red chair", "also in blue, 80 cm", BRANDS)

    assert result == (Attribute("colour", "red"), Attribute("length", "80 cm"))


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("Never used, still in box", ["new"]),
        ("Unused", ["new"]),
        ("BNIB", ["new"]),
        ("used, but in very good condition", ["good"]),
        ("can be used as a desk", []),
        ("used twice", []),
        ("selling due to new kitchen", []),
        ("not new but tidy", []),
        ("gearbox for parts included", []),
        ("like brand new", ["like new"]),
        ("collection near New Cross", []),
        ("sold for spares or repairs", ["for parts"]),
    ],
)
def test_condition_in_description_is_a_phrase(description, expected):
    attributes = listing_attributes("desk", description, BRANDS)

    assert [value for kind, value in attributes if kind == "condition"] == expected


@pytest.mark.parametrize(
    "description", ["in red, blue or green", "size 8, size 10, size 12, size 14", "SE1 9ds"]
)
def test_range_to_choose_from_is_no_attribute(description):
    assert listing_attributes("dress", description, BRANDS) == ()


def test_two_colours_of_a_description_are_attributes():
    assert listing_attributes("dress", "black and red", BRANDS) == (
        Attribute("colour", "black"),
        Attribute("colour", "red"),
    )


@pytest.mark.parametrize("condition", ["new", "used"])
def test_single_word_in_title_is_a_condition(condition):
    assert listing_attributes(f"{condition} desk", "", BRANDS) == (
        Attribute("condition", condition),
    )


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
