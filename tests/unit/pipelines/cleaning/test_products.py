import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_marketplace.datasets.parquet_table import ParquetDataset
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.cleaning.products import (
    add_photo_columns,
    clean_products,
    select_labels,
)
from fb_marketplace.schemas.cleaning import CleanedProducts
from fb_marketplace.schemas.quarantine import Quarantine
from fb_marketplace.skipping import InsufficientDataError


@pytest.fixture
def clean(raw_products, cleaning):
    """Clean valid listings with the given changes."""
    return lambda *rows: clean_products(raw_products(*rows), cleaning)


def only(frame):
    assert len(frame) == 1
    return frame.iloc[0]


def test_valid_listing_is_kept_with_all_fields(clean):
    remaining = only(clean({"id": "a", "price": "£1,250.00"}).rows)

    unset = ("price_flag", "copy_of", "created_at", "date_flag")
    assert remaining.to_dict() | dict.fromkeys(unset) == {
        "row": 0,
        "product_id": "a",
        "title": "Oak table",
        "category_path": "Home & Garden / Dining / Tables",
        "description": "A table.",
        "price": 1250.0,
        "location": "Leeds, West Yorkshire",
        "currency": "GBP",
        "price_flag": None,
        "repeats": 0,
        "town": "Leeds",
        "county": "West Yorkshire",
        "category": "Home & Garden",
        "category_code": 0,
        "category_depth": 3,
        "odd_category_depth": False,
        "respelled_category": False,
        "copy_of": None,
        "created_at": None,
        "date_flag": None,
    }


@pytest.mark.parametrize(
    ("paths", "separator"),
    [
        (["Home > Tables"] * 9, " > "),
        (["Home|Tables", "Home|Chairs", "Home|Lamps"] * 3 + ["Bikes"], "|"),
        (["Home &gt; Tables"] * 9, " > "),
        (["Home » Tables"] * 9, " » "),
    ],
)
def test_other_category_separator_stops_the_run(clean, paths, separator):
    with pytest.raises(UserError, match=re.escape(f"have {separator!r}")):
        clean(*({"id": str(number), "category": path} for number, path in enumerate(paths)))


@pytest.mark.parametrize(
    "paths",
    [
        ["Home > Tables", "Home / Tables"],
        ["Home"],
        ["Home/Tables"],
        ["R&amp;B"],
        ["Home > T", "B"],
        ["Tools: hand"] * 9,
        ["a;b", "c;d"],
    ],
)
def test_category_separator_may_be_absent(clean, paths):
    rows = ({"id": str(number), "category": path} for number, path in enumerate(paths))

    assert len(clean(*rows).rows) == len(paths)


@pytest.mark.parametrize("missing", ["", "  ", "N/A", "null", " NaN ", "-", "\u200b", "\u00a0"])
def test_listing_without_required_field_is_rejected(clean, missing):
    result = clean({"product_name": missing}, {})

    assert result.rows["product_id"].tolist() == ["p1"]
    turned = only(result.quarantined)
    assert (turned["row"], turned["key"], turned["reason"]) == (0, "p0", "missing_field")
    assert "title" in turned["detail"]


def test_all_missing_fields_are_named(clean):
    turned = only(clean({"price": "", "location": "n/a"}).quarantined)

    assert "price" in turned["detail"]
    assert "location" in turned["detail"]


def test_missing_values_are_configurable(raw_products, cleaning):
    values = cleaning.model_copy(update={"missing_values": ("nix",)})
    raw = raw_products({"product_description": "NIX"}, {"product_description": "n/a"})

    assert clean_products(raw, values).rows["product_id"].tolist() == ["p1"]


def test_required_fields_are_configurable(raw_products, changed, cleaning):
    values = changed(
        "products", **cleaning.products.model_dump() | {"required_columns": ["product_id", "price"]}
    )

    assert len(clean_products(raw_products({"product_description": ""}), values).rows) == 1


@pytest.mark.parametrize("missing", ["", " ", "N/A", "\u200b-", "Price on application"])
def test_missing_price_is_kept_unless_required(raw_products, changed, missing):
    required = ["product_id", "title"]
    optional = changed("products", required_columns=required)
    optional = optional.model_copy(
        update={"price": changed("price", words={"price on application": None}).price}
    )

    rows = clean_products(raw_products({"price": missing}, {}), optional).rows

    assert rows["price"].isna().tolist() == [True, False]
    assert rows["price_flag"].fillna("").tolist() == ["missing", ""]


def test_unparsable_optional_price_is_rejected(raw_products, changed):
    optional = changed("products", required_columns=["product_id"])

    result = clean_products(raw_products({"price": "ask me"}), optional)

    assert result.quarantined["reason"].tolist() == ["unparsable_price"]


def test_repeated_rows_are_merged_and_counted(clean):
    result = clean({"id": "a"}, {"id": "b"}, {"id": "a"}, {"id": "a"})

    assert dict(zip(result.rows["product_id"], result.rows["repeats"], strict=True)) == {
        "a": 2,
        "b": 0,
    }
    assert result.quarantined.empty


def test_conflicting_row_is_rejected(clean):
    result = clean({"id": "a", "price": "£5"}, {"id": "a", "price": "£6"})

    assert only(result.rows)["price"] == 5
    turned = only(result.quarantined)
    assert (turned["row"], turned["key"], turned["reason"]) == (1, "a", "conflicting_row")


def test_repeat_of_conflicting_row_is_rejected(clean):
    result = clean({"id": "a"}, {"id": "a", "price": "£6"}, {"id": "a", "price": "£6"})

    assert only(result.rows)["repeats"] == 0
    assert result.quarantined["row"].tolist() == [1, 2]


def test_listing_with_malformed_price_is_rejected(clean):
    result = clean({"price": "make me an offer"}, {})

    turned = only(result.quarantined)
    assert (turned["key"], turned["reason"]) == ("p0", "unparsable_price")
    assert "make me an offer" in turned["detail"]


def test_every_row_is_kept_merged_or_rejected(clean):
    result = clean(
        {"id": "a", "price": "POA"},
        {"id": "a", "price": "POA"},
        {"id": "b"},
        {"id": "b"},
        {"id": "c", "location": ""},
        {"id": "c", "location": ""},
        {"id": "b", "price": "£7"},
    )

    assert len(result.rows) + result.rows["repeats"].sum() + len(result.quarantined) == 7


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("Oak table | in Leeds, West Yorkshire | Gumtree", "Oak table"),
        ("Oak table|in Leeds|Gumtree", "Oak table"),
        ("Oak | pine table | in Leeds | Gumtree", "Oak | pine table"),
        ("Oak table in good order", "Oak table in good order"),
        (" | in Leeds | Gumtree", "| in Leeds | Gumtree"),
        ("Oak\r table | in St. Ives, Cornwall | Gumtree", "Oak table"),
    ],
    ids=["county", "tight", "inner-bar", "none", "no-title", "carriage-return"],
)
def test_site_suffix_of_title_is_removed(clean, written, title):
    assert only(clean({"product_name": written}).rows)["title"] == title


@pytest.mark.parametrize(
    ("location", "town", "county"),
    [
        ("Leeds, West Yorkshire", "Leeds", "West Yorkshire"),
        ("Leeds", "Leeds", None),
        ("Stoke Newington, Hackney, London", "Stoke Newington, Hackney", "London"),
        (" Leeds ,West  Yorkshire ", "Leeds", "West Yorkshire"),
    ],
    ids=["both", "town", "two-commas", "blanks"],
)
def test_location_is_split_into_town_and_county(clean, location, town, county):
    remaining = only(clean({"location": location}).rows)

    assert remaining["town"] == town
    assert remaining["county"] == county or (county is None and pd.isna(remaining["county"]))


@pytest.mark.parametrize("nothing", [",", " , ", "\uff0c", "n/a"])
def test_blank_location_is_missing(clean, nothing):
    assert only(clean({"location": nothing}).quarantined)["reason"] == "missing_field"


@pytest.mark.parametrize(
    ("written", "path", "depth", "odd"),
    [
        ("Home & Garden / Dining / Tables", "Home & Garden / Dining / Tables", 3, False),
        ("Home & Garden/Dining", "Home & Garden / Dining", 2, False),
        (" Home & Garden  /Dining /", "Home & Garden / Dining", 2, False),
        ("Home & Garden", "Home & Garden", 1, True),
        ("a / b / c / d / e", "a / b / c / d / e", 5, False),
        ("a / b / c / d / e / f", "a / b / c / d / e / f", 6, True),
    ],
)
def test_category_path_is_read_with_any_spacing(clean, written, path, depth, odd):
    remaining = only(clean({"category": written}).rows)

    assert remaining["category_path"] == path
    assert remaining["category_depth"] == depth
    assert remaining["odd_category_depth"] == odd


@pytest.mark.parametrize("nothing", [" / ", "N/A", "n/a", "\uff0f"])
def test_blank_category_path_is_missing(clean, nothing):
    assert only(clean({"category": nothing}).quarantined)["reason"] == "missing_field"


def test_root_categories_are_numbered_alphabetically(clean):
    remaining = clean(
        {"category": "Sport / Golf"}, {"category": "Arts / X"}, {"category": "Sport / Y"}
    )

    assert remaining.rows["category"].tolist() == ["Sport", "Arts", "Sport"]
    assert remaining.rows["category_code"].tolist() == [1, 0, 1]


def test_copy_refers_to_oldest_equal_listing(clean):
    remaining = clean(
        {"id": "a", "product_name": "Oak TABLE", "product_description": "As new."},
        {"id": "b", "product_name": "Pine table", "product_description": "As new."},
        {"id": "c", "product_name": "oak table!", "product_description": "as new"},
        {"id": "d", "product_name": "oak table", "product_description": "AS NEW"},
    ).rows

    assert remaining["copy_of"].fillna("").tolist() == ["", "", "a", "a"]


def test_flagged_prices_are_kept(clean):
    remaining = clean(
        {"price": "£0.00"}, {"price": "£999"}, {"price": "£250,000"}, {"price": "£5"}
    ).rows

    assert remaining["price_flag"].fillna("").tolist() == ["zero", "joke", "absurd", ""]


def test_extra_columns_are_kept(clean):
    assert only(clean({"seller": "Ann"}).rows)["seller"] == "Ann"


@pytest.mark.parametrize("name", ["currency", "row", "title", "photos"])
def test_extra_column_with_reserved_name_is_renamed(clean, name):
    remaining = only(clean({"id": "a", name: "theirs"}).rows)

    assert remaining[f"raw_{name}"] == "theirs"
    assert (remaining["row"], remaining["currency"], remaining["title"]) == (0, "GBP", "Oak table")


def test_numeric_ids_are_integers(raw_products, cleaning):
    raw = raw_products({}, {}, {}).assign(id=[12.0, float("nan"), 7.0])
    result = clean_products(raw, cleaning)

    assert result.rows["product_id"].tolist() == ["12", "7"]
    assert only(result.quarantined)["reason"] == "missing_field"


def test_ignored_columns_are_dropped(clean):
    result = clean({"id": "a", "Unnamed: 0": "0"}, {"id": "a", "Unnamed: 0": "1"})

    assert "Unnamed: 0" not in result.rows
    assert only(result.rows)["repeats"] == 1


def test_other_site_is_read_by_parameters_alone(cleaning):
    values = cleaning.model_dump()
    names = ("nr", "titel", "rubrik", "text", "preis", "ort")
    ours = ("product_id", "title", "category_path", "description", "price", "location")
    values["products"]["columns"] = dict(zip(ours, names, strict=True))
    values["price"] |= {"symbols": ["€"], "currency": "EUR", "thousands": ".", "decimal": ","}
    values["category"]["separator"] = " > "
    values["text"] = {"title_suffix_pattern": r" - Kleinanzeigen$", "location_separator": "-"}
    written = ("7", "Tisch - Kleinanzeigen", "Haus>Tische", "Gut.", "1.250,50 €", "Köln-Ehrenfeld")
    raw = pd.DataFrame([dict(zip(names, written, strict=True))])

    remaining = only(clean_products(raw, type(cleaning).model_validate(values)).rows)

    assert (remaining["title"], remaining["price"], remaining["currency"]) == (
        "Tisch",
        1250.5,
        "EUR",
    )
    assert (remaining["category_path"], remaining["town"], remaining["county"]) == (
        "Haus > Tische",
        "Köln",
        "Ehrenfeld",
    )


def test_missing_column_is_named_with_present_ones(raw_products, cleaning):
    with pytest.raises(UserError, match=r"\bprice\b.*'id', .*'location'"):
        clean_products(raw_products({}).drop(columns="price"), cleaning)


def test_raw_table_is_unchanged(raw_products, cleaning):
    raw = raw_products({}, {"price": "x"}, {"location": ""})
    before = raw.copy(deep=True)

    clean_products(raw, cleaning)

    pd.testing.assert_frame_equal(raw, before)


@pytest.mark.parametrize("rows", [[], [{"price": ""}], [{}, {"price": "x"}]])
def test_output_matches_schemas_for_any_input(raw_products, cleaning, rows):
    result = clean_products(
        raw_products({}).iloc[:0] if not rows else raw_products(*rows), cleaning
    )

    CleanedProducts.validate(result.rows)
    Quarantine.validate(result.quarantined)


CELLS = st.text() | st.sampled_from(
    ["", "n/a", "p0", "£5", "£1,234.00", "a / b", "Leeds, Kent", "/", ","]
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("id", "product_name", "category", "product_description", "price", "location"), CELLS
        ),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(ROWS)
def test_ledger_balances_for_any_text(raw_products, cleaning, rows):
    result = clean_products(raw_products(*rows), cleaning)

    CleanedProducts.validate(result.rows)
    Quarantine.validate(result.quarantined)
    assert len(result.rows) + result.rows["repeats"].sum() + len(result.quarantined) == len(rows)


def test_remaining_photos_of_each_listing_are_counted(clean):
    listed = clean({"id": "a"}, {"id": "b"}).rows
    left = pd.DataFrame({"image_id": ["i", "j"], "product_id": ["b", "b"]})

    rows = left.assign(created_at=pd.array([None, None], "Int64"), date_flag=None)

    assert add_photo_columns(listed, left, rows)["photos"].tolist() == [0, 2]


@pytest.mark.parametrize("padded", ["p9   ", "\ufeffp9", "\u00a0p9\n", "p9\u200b"])
def test_id_is_trimmed(clean, padded):
    assert only(clean({"id": padded}).rows)["product_id"] == "p9"


def test_ids_in_other_normal_forms_are_one(clean):
    result = clean({"id": "caf\u00e9"}, {"id": "cafe\u0301"})

    assert only(result.rows)["product_id"] == "caf\u00e9"


@pytest.mark.parametrize("invalid", ["x" * 201, "a/../b", "..", "a//b", "/a", "a\x07b", "a\u202eb"])
def test_id_that_cannot_be_a_key_is_rejected(clean, invalid):
    result = clean({"id": invalid}, {"id": "p/9.a"})

    assert only(result.rows)["product_id"] == "p/9.a"
    rejected = only(result.quarantined)
    assert (rejected["row"], rejected["reason"]) == (0, "invalid_id")
    assert len(rejected["detail"]) < 200


def test_categories_that_differ_by_spelling_are_one(clean):
    paths = ["Home & Garden / Tables", "Home &amp; Garden / tables", "home &  garden / Tables"]

    rows = clean(*({"id": str(n), "category": path} for n, path in enumerate([*paths, paths[0]])))

    assert set(rows.rows["category_path"]) == {"Home & Garden / Tables"}
    assert rows.rows["respelled_category"].tolist() == [False, True, True, False]


def test_spelling_is_unified_below_each_parent(clean):
    paths = ["Music / DJ", "Music / Dj", "Music / DJ", "Sport / Dj"]

    rows = clean(*({"id": str(n), "category": path} for n, path in enumerate(paths))).rows

    assert rows["category_path"].tolist() == ["Music / DJ"] * 3 + ["Sport / Dj"]


@pytest.mark.parametrize(
    ("values", "price"),
    [
        ([Decimal("12.5000"), None], [12.5]),
        ([Decimal("0.10"), Decimal("99999999999.99")], [0.1, 99_999_999_999.99]),
        ([np.float32(12.1), np.float32("nan")], [12.1]),
        (pd.array([5, None], "Int64"), [5]),
        (pd.Categorical([12.5, 7.25]), [12.5, 7.25]),
    ],
    ids=["decimal", "cents", "float32", "integer", "category"],
)
def test_parquet_price_ignores_separators(raw_products, changed, values, price, tmp_path):
    table = raw_products({}, {})
    table["price"] = values
    table.to_parquet(tmp_path / "table.parquet")
    french = changed("price", symbols=["€"], thousands=".", decimal=",")

    raw = ParquetDataset(filepath=str(tmp_path / "table.parquet")).load()

    assert clean_products(raw, french).rows["price"].tolist() == price


def test_typed_price_is_taken_by_value(raw_products, cleaning):
    raw = raw_products({}, {})
    raw["price"] = [12.5, 1234.5678]

    assert clean_products(raw, cleaning).rows["price"].tolist() == [12.5, 1234.5678]


@pytest.mark.parametrize("column", ["price", "product_description", "location"])
def test_column_that_is_not_required_may_be_missing(raw_products, changed, column):
    optional = changed("products", required_columns=["product_id", "title"])
    table = raw_products({}, {"id": "b"}).drop(columns=column)

    rows = CleanedProducts.validate(clean_products(table, optional).rows)

    assert len(rows) == 2
    field = {name: field for field, name in optional.products.columns.items()}[column]
    assert (rows[field].isna() | (rows[field] == "")).all()


def test_missing_required_column_is_named(raw_products, cleaning):
    with pytest.raises(UserError, match=r"missing columns: price\b.*required_columns"):
        clean_products(raw_products({}).drop(columns="price"), cleaning)


NONE = pd.DataFrame()


def categories(**counts):
    roots = [root for root, count in counts.items() for _ in range(count)]
    ids = [f"p{row}" for row in range(len(roots))]
    return pd.DataFrame({"product_id": ids, "category": roots, "category_path": roots})


@pytest.fixture
def vision(base_parameters):
    return VisionParameters.model_validate(base_parameters["vision"])


def test_small_categories_are_no_classes_and_logged_once(vision, caplog):
    with caplog.at_level("INFO"):
        labels = select_labels(categories(Home=10, Rare=9, Sport=11, Odd=1), NONE, vision)

    assert labels["category"].value_counts().to_dict() == {"Home": 10, "Sport": 11}
    (message,) = caplog.messages
    assert "Odd (1), Rare (9)" in message


@pytest.mark.parametrize("counts", [{"Home": 50}, {"Home": 50, "Rare": 9}, {"Odd": 1, "Rare": 9}])
def test_market_without_two_classes_has_no_labels(vision, counts):
    with pytest.raises(InsufficientDataError, match=r"min_listings_per_category"):
        select_labels(categories(**counts), NONE, vision)


def test_class_remains_one_until_half_of_the_limit(vision):
    before = categories(Home=10, Rare=10, Odd=10)

    labels = select_labels(categories(Home=9, Rare=5, Odd=4, New=9), before, vision)

    assert set(labels["category"]) == {"Home", "Rare"}
