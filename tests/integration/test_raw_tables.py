"""Raw tables as other systems export them, through the preflight and the cleaning pipeline."""

import csv
import gzip
import io
import os
import shutil
import uuid
import zipfile
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from fb_marketplace.cli import cli
from fb_marketplace.storage.tables.csv_rows import MAX_ROW_CHARS

ROOT = Path(__file__).parents[2]
LISTINGS = pd.DataFrame(
    {
        "id": [f"p{number}" for number in range(12)],
        "product_name": [f"Oak chair {number}" for number in range(12)],
        "category": ["Home & Garden / Chairs", "Sport / Bikes"] * 6,
        "product_description": [f"A chair, number {number}." for number in range(12)],
        "price": [f"£{number + 20}.00" for number in range(12)],
        "location": "Leeds, West Yorkshire",
    }
)
IMAGES = pd.DataFrame({"id": LISTINGS["id"] + "-0", "product_id": LISTINGS["id"]})


@pytest.fixture
def cleaned(tmp_path, monkeypatch, draw_photo):
    """Run the table steps of cleaning on a bucket; returns its tables by name."""
    monkeypatch.chdir(ROOT)
    bootstrap_project(ROOT)
    for name in [name for name in os.environ if name.startswith(("AWS_", "FB_"))]:
        monkeypatch.delenv(name)

    def cleaned(photos, catalog=None, parameters=None):
        (tmp_path / "raw/images").mkdir()
        for number, name in enumerate(photos):
            (tmp_path / f"raw/images/{name}.jpg").write_bytes(draw_photo(number))
        shutil.copytree(ROOT / "conf", tmp_path / "conf")
        path = tmp_path / "conf/test/catalog_cleaning.yml"
        path.write_text(yaml.safe_dump(catalog or {}))
        path = tmp_path / "conf/test/parameters_cleaning.yml"
        own = yaml.safe_load(path.read_text()) | {"cleaning": parameters or {}}
        path.write_text(yaml.safe_dump(own, allow_unicode=True))
        monkeypatch.setenv("FB_RAW", str(tmp_path / "raw"))
        monkeypatch.setenv("FB_LAKE", str(tmp_path / "lake"))
        options = ["--env=test", f"--conf-source={tmp_path / 'conf'}", "--pipeline=cleaning"]
        ended = CliRunner().invoke(cli, ["run", *options, "--to-nodes=match_photos_to_rows"])
        assert ended.exit_code == 0, ended.output
        return {
            path.name.partition(".")[0]: pd.read_parquet(next(path.glob("*/*.parquet")))
            for path in (tmp_path / "lake/02_intermediate").glob("*.parquet")
        }

    (tmp_path / "raw/Assets").mkdir(parents=True)
    return cleaned


def test_typed_parquet_tables_are_cleaned(cleaned, tmp_path):
    ids = [None, *(10**17 + 2 * number + 1 for number in range(11))]
    photo_ids = [uuid.UUID(int=number) for number in range(11)]
    products = pa.Table.from_pandas(LISTINGS, preserve_index=False)
    products = products.set_column(0, "id", pa.array(ids, pa.int64()))
    prices = pa.array([Decimal("12.5000")] * 12, pa.decimal128(18, 4))
    products = products.set_column(4, "price", prices)
    products = products.append_column("thumbnail", pa.array([b"\xff\xd8"] * 12))
    pq.write_table(products, tmp_path / "raw/Assets/Products.parquet")
    images = pd.DataFrame({"id": map(str, photo_ids), "product_id": ids[1:]}).set_index("id")
    images.to_parquet(tmp_path / "raw/Assets/Images.parquet")

    tables = cleaned(
        photo_ids,
        catalog={
            "raw_products": {
                "type": "fb_marketplace.datasets.parquet_table.ParquetDataset",
                "filepath": "${_raw}/Assets/Products.parquet",
            },
            "raw_images": {
                "type": "pandas.ParquetDataset",
                "filepath": "${_raw}/Assets/Images.parquet",
            },
            "_raw": "${globals:raw}",
        },
    )

    listings = tables["cleaned_products"]
    assert sorted(listings["product_id"]) == [str(number) for number in ids[1:]]
    assert set(listings["price"]) == {12.5}
    assert tables["quarantined_products"]["reason"].tolist() == ["missing_field"]
    assert sorted(tables["matched_photos"]["image_id"]) == sorted(map(str, photo_ids))


def test_typed_by_hand_csv_tables_are_cleaned(cleaned, tmp_path):
    spaces = LISTINGS.assign(
        id=LISTINGS["id"] + "   ",
        price=["1\u202f299 €", "", "12,-", "EUR 1.234,5"] * 3,
        category=LISTINGS["category"].where(LISTINGS.index % 4 > 0, "Home &amp; Garden / Chairs"),
    )
    spaces.to_csv(tmp_path / "raw/Assets/Products.csv", index=False)
    IMAGES.to_csv(tmp_path / "raw/Assets/Images.csv", index=False)
    euros = {"symbols": ["€"], "currency": "EUR", "thousands": " ", "decimal": ","}

    tables = cleaned(
        IMAGES["id"],
        parameters={
            "price": euros,
            "products": {"required_columns": ["product_id", "title", "category_path"]},
        },
    )

    listings = tables["cleaned_products"]
    assert listings["product_id"].tolist() == LISTINGS["id"].tolist()
    assert listings["price"].fillna(0).tolist() == [1299, 0, 12, 1234.5] * 3
    assert set(listings["price_flag"].dropna()) == {"missing"}
    assert set(listings["category"]) == {"Home & Garden", "Sport"}
    assert len(tables["matched_photos"]) == 12
    assert tables["unmatched_images"].empty


def as_csv(frame, end="\n", encoding="utf-8", **options):
    return frame.to_csv(index=False, lineterminator=end, **options).encode(encoding)


def zipped(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_dot_", "."), content)
    return packed.getvalue()


QUOTES = LISTINGS.assign(product_description='A 32" screen, with a 2" stand\nand "feet"')
LONG = LISTINGS.assign(product_description=LISTINGS["product_description"] * 3000)
TRAILING = as_csv(LISTINGS.rename(columns={"price": "price\n(GBP)"})).replace(b"\n", b",\n")
TRAILING = TRAILING.replace(b"price,\n(GBP)", b"price\n(GBP)").replace(b",\n", b"\n", 1)

FORMS = {
    "crlf": (as_csv(LISTINGS, "\r\n"), {}, {}, gzip.compress(as_csv(IMAGES, "\r\n", sep=";"))),
    "escape": (
        as_csv(QUOTES, doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL),
        {"escapechar": "\\", "doublequote": False},
        {},
        zipped(**{"__MACOSX/._Images_dot_csv": b"x", "Images_dot_csv": as_csv(IMAGES)}),
    ),
    "utf-16": (
        as_csv(LONG, encoding="utf-16"),
        {"encoding": "UTF_16"},
        {},
        as_csv(IMAGES, sep="\t"),
    ),
    "header": (TRAILING, {}, {"price": "price\n(GBP)"}, as_csv(IMAGES, encoding="utf-16")),
}


@pytest.mark.parametrize("form", FORMS)
def test_csv_tables_of_any_form_are_cleaned(cleaned, tmp_path, form):
    products, load_args, columns, images = FORMS[form]
    (tmp_path / "raw/Assets/Products.csv").write_bytes(products)
    (tmp_path / "raw/Assets/Images.csv").write_bytes(images)
    entry = yaml.safe_load((ROOT / "conf/base/catalog_cleaning.yml").read_text())["raw_products"]

    tables = cleaned(
        IMAGES["id"],
        catalog={
            "_raw": "${globals:raw}",
            "raw_products": entry | {"load_args": entry["load_args"] | load_args},
        },
        parameters={"products": {"columns": columns}} if columns else None,
    )

    assert tables["cleaned_products"]["product_id"].tolist() == LISTINGS["id"].tolist()
    assert tables["cleaned_products"]["price"].tolist() == [number + 20 for number in range(12)]
    assert tables["quarantined_products"].empty
    assert len(tables["matched_photos"]) == 12


def test_long_cell_is_one_quarantined_row(cleaned, tmp_path):
    listings = LISTINGS.copy()
    listings.loc[3, "product_description"] = "two\nlines" * (MAX_ROW_CHARS // 8)
    (tmp_path / "raw/Assets/Products.csv").write_bytes(as_csv(listings))
    (tmp_path / "raw/Assets/Images.csv").write_bytes(as_csv(IMAGES))

    tables = cleaned(IMAGES["id"])

    (entry,) = tables["quarantined_products"].itertuples()
    assert (entry.row, entry.reason) == (3, "torn_line")
    assert f"the limit is {MAX_ROW_CHARS:,}" in entry.detail
    assert len(tables["cleaned_products"]) == 11
