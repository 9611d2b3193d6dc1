import io
import re
from random import Random

import pandas as pd
import pytest

from fb_marketplace.sample.csv_tables import csv_table
from fb_marketplace.sample.prices import is_joke

from .conftest import DrawnLake


def read(lake: DrawnLake, name: str) -> pd.DataFrame:
    return pd.read_csv(
        io.BytesIO(lake.files[f"Assets/{name}.csv"]),
        lineterminator="\n",
        dtype=str,
        keep_default_na=False,
    )


@pytest.fixture(scope="module")
def products(lake: DrawnLake) -> pd.DataFrame:
    return read(lake, "Products")


@pytest.fixture(scope="module")
def images(lake: DrawnLake) -> pd.DataFrame:
    return read(lake, "Images")


def amounts(products: pd.DataFrame) -> pd.Series:
    return products.price.str.extract(r"^£([\d,]+\.\d\d)$")[0].str.replace(",", "").astype(float)


def test_row_counts_match_ground_truth(
    lake: DrawnLake, products: pd.DataFrame, images: pd.DataFrame
) -> None:
    assert len(products) == lake.truth["counts"]["products_rows"]
    assert len(images) == lake.truth["counts"]["images_rows"]


def test_columns_match_the_real_bucket_and_have_dates(
    products: pd.DataFrame, images: pd.DataFrame
) -> None:
    assert list(products.columns[1:]) == [
        *("id", "product_name", "category", "product_description", "price", "location"),
        "create_time",
    ]
    assert list(images.columns[1:]) == [
        *("id", "product_id", "bucket_link", "image_ref", "create_time"),
    ]


def test_naive_csv_reading_fails(lake: DrawnLake, products: pd.DataFrame) -> None:
    text = lake.files["Assets/Products.csv"].decode()

    broken = pd.read_csv(io.StringIO(text, newline=""), on_bad_lines="skip", dtype=str)

    assert len(broken) > len(products)


def test_only_special_fields_are_quoted() -> None:
    rows = [("a\rb", "c,d", 'e"f', "g\nh")]

    table = csv_table(("w", "x", "y", "z"), rows, Random(1))

    assert table == b',w,x,y,z\n0,a\rb,"c,d","e""f","g\nh"\n'


def test_carriage_returns_match_ground_truth(lake: DrawnLake, products: pd.DataFrame) -> None:
    holding = products[products.product_description.str.contains("\r")]

    assert set(holding.id) == set(lake.truth["kinds"]["carriage_return"])


def test_every_root_category_occurs(products: pd.DataFrame) -> None:
    roots = set(products.category.str.split(" / ").str[0]) - {"", "N/A"}

    assert len(roots) == 13


def test_titles_end_with_place_and_site(products: pd.DataFrame) -> None:
    named = products[products.product_name.str.len() > 3]
    named = named[named.location.str.len() > 3]

    assert all(
        name.endswith(f" | in {place} | Gumtree")
        for name, place in zip(named.product_name, named.location, strict=True)
    )


@pytest.mark.parametrize(
    ("flag", "holds"),
    [
        ("price_zero", lambda amount: amount == 0),
        ("price_joke", is_joke),
        ("price_absurd", lambda amount: amount > 100_000 and not is_joke(amount)),
    ],
)
def test_only_planted_prices_are_odd(
    lake: DrawnLake, products: pd.DataFrame, flag: str, holds: object
) -> None:
    assert callable(holds)
    odd = products[amounts(products).dropna().map(holds).reindex(products.index, fill_value=False)]

    assert set(odd.id) == set(lake.truth["flags"][flag])


def test_incomplete_rows_match_ground_truth(lake: DrawnLake, products: pd.DataFrame) -> None:
    lacking = products.isin(["", "N/A"]).any(axis=1)
    senseless = amounts(products).isna() & ~lacking
    result = [(row, "missing_field") for row in products.index[lacking]]
    result += [(row, "unparsable_price") for row in products.index[senseless]]

    listed = lake.truth["quarantine"]["products"]

    assert sorted(result) == sorted((entry["row"], entry["reason"]) for entry in listed)
    assert all(products.id[entry["row"]] == entry["id"] for entry in listed)


def test_repeated_rows_differ_in_row_number_only(
    lake: DrawnLake, products: pd.DataFrame, images: pd.DataFrame
) -> None:
    for table, flag in ((products, "repeated_row"), (images, "repeated_image_row")):
        named = table[table.id != ""]
        values = table.columns[1:].to_list()
        repeated = named[named.duplicated(values, keep=False)]

        assert set(repeated.id) == set(lake.truth["flags"][flag])
        assert set(named[named.duplicated("id")].id) == set(repeated.id)
        for _, rows in repeated.groupby("id"):
            assert rows.index[1] - rows.index[0] > 1


def test_copies_repeat_an_older_listing(
    lake: DrawnLake, products: pd.DataFrame, images: pd.DataFrame
) -> None:
    once = products.drop_duplicates("id")
    first_seen = images.groupby("product_id").create_time.min()
    for copy in lake.truth["flags"]["copy"]:
        text = once[once.id == copy].iloc[0]
        same = once[
            (once.product_name == text.product_name)
            & (once.product_description == text.product_description)
            & (once.id != copy)
        ]

        assert len(same) == 1
        assert first_seen[same.iloc[0].id] < first_seen[copy]


def test_only_copies_share_a_title_and_description(lake: DrawnLake, products: pd.DataFrame) -> None:
    rejected = {entry["id"] for entry in lake.truth["quarantine"]["products"]}
    once = products[~products.id.isin(rejected)].drop_duplicates("id")
    titles = once.product_name.str.partition(" | ")[0].str.lower()
    shared = once[(titles + "\n" + once.product_description.str.lower()).duplicated()]

    assert set(shared.id) == set(lake.truth["flags"]["copy"])


def test_only_copies_share_a_long_description(lake: DrawnLake, products: pd.DataFrame) -> None:
    once = products[products.product_description.str.count(" ") >= 5].drop_duplicates("id")
    shared = once[once.duplicated("product_description")]

    assert set(shared.id) <= set(lake.truth["flags"]["copy"])


def test_photos_are_as_old_as_their_listing(products: pd.DataFrame, images: pd.DataFrame) -> None:
    listed = products.drop_duplicates("id").set_index("id")["create_time"]
    known = images[images.product_id.isin(listed.index)]

    assert (known.create_time == known.product_id.map(listed)).all()
    assert listed.nunique() > 20


def test_links_and_dates_match_the_real_format(images: pd.DataFrame) -> None:
    links = "https://bucket.example/images/" + images.id + ".jpg"

    assert (images.bucket_link == links).all()
    assert images.image_ref.map(lambda ref: bool(re.fullmatch(r"\w{16}", ref))).all()
    assert pd.to_datetime(images.create_time, format="%Y-%m-%d").notna().all()
