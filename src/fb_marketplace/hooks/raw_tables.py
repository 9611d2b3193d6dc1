"""Hook that completes the catalog entries of raw tables."""

from typing import Any, Final

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, DataCatalog

TABLES: Final = ("raw_products", "raw_images")

PANDAS_PARQUET: Final = ("pandas.ParquetDataset", "kedro_datasets.pandas.ParquetDataset")

PARQUET: Final = "fb_marketplace.datasets.parquet_table.ParquetDataset"


class RawTableHooks:
    """Lets a user change only ``type`` and ``filepath`` of a raw table."""

    @hook_impl
    def after_catalog_created(self, catalog: DataCatalog, conf_catalog: dict[str, Any]) -> None:
        """Read Parquet tables by types, and take the checksum of the file that is read.

        Kedro's own ``pandas.ParquetDataset`` reads integers with missing values as floats, which changes
        long ids.
        """
        for name in TABLES:
            table, file = conf_catalog.get(name, {}), conf_catalog.get(f"{name}_file", {})
            if table.get("type") in PANDAS_PARQUET:
                _replace(catalog, name, {**table, "type": PARQUET})
            path = table.get("filepath")
            if path and file and file["filepath"] != path:
                _replace(catalog, f"{name}_file", {**file, "filepath": path})


def _replace(catalog: DataCatalog, name: str, entry: dict[str, Any]) -> None:
    catalog._lazy_datasets.pop(name, None)  # Kedro warns if an entry is replaced.
    catalog[name] = AbstractDataset.from_config(name, entry)
