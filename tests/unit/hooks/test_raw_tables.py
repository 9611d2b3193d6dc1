from pathlib import Path

import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

from fb_marketplace.hooks.raw_tables import RawTableHooks
from fb_marketplace.settings import CONFIG_LOADER_ARGS

CONFIGURATION = Path(__file__).parents[3] / "conf"


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    """The catalog of the project, with a user's changes."""

    def catalog(**changes):
        monkeypatch.setenv("FB_RAW", str(tmp_path))
        monkeypatch.setenv("FB_LAKE", str(tmp_path / "lake"))
        loader = OmegaConfigLoader(str(CONFIGURATION), env="test", **CONFIG_LOADER_ARGS)
        entries = {
            name: entry | changes.get(name, {})
            for name, entry in loader["catalog"].items()
            if name in ("raw_products", "raw_images", "raw_products_file", "raw_images_file")
        }
        catalog = DataCatalog.from_config(entries)
        RawTableHooks().after_catalog_created(catalog, entries)
        return catalog

    return catalog


@pytest.mark.parametrize(
    "kind", ["pandas.ParquetDataset", "fb_marketplace.datasets.parquet_table.ParquetDataset"]
)
def test_type_and_path_are_enough_for_parquet(catalog, tmp_path, kind):
    path = tmp_path / "Products.parquet"
    pd.DataFrame({"id": pd.array([2**53 + 1, None], "Int64")}).to_parquet(path)

    entries = catalog(raw_products={"type": kind, "filepath": str(path)})

    assert entries.load("raw_products")["id"].tolist() == [str(2**53 + 1), ""]
    assert entries.load("raw_products_file").read() == path.read_bytes()


def test_other_tables_are_unchanged(catalog, tmp_path, caplog):
    entries = catalog()

    assert entries.load("raw_images_file").url == f"{tmp_path}/Assets/Images.csv"
    assert type(entries.get("raw_images")).__module__ == "fb_marketplace.datasets.csv_table"
    assert not caplog.records


def test_incomplete_catalog_is_unchanged():
    entries = {"raw_products_file": {"filepath": "Products.csv"}, "raw_images": {"type": "Sql"}}

    catalog = DataCatalog()
    RawTableHooks().after_catalog_created(catalog, entries)

    assert not list(catalog.keys())
