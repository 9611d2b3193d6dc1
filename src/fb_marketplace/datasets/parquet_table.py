"""A raw Parquet table, read as text like a CSV table."""

import pandas as pd
from kedro.io.core import PROTOCOL_DELIMITER
from kedro_datasets import pandas as kedro_pandas

from fb_marketplace.errors import UserError
from fb_marketplace.storage.tables.parquet_table import read_table


class ParquetDataset(kedro_pandas.ParquetDataset):  # type: ignore[misc]  # no stubs
    """Loads a table as text by the types in the file, so that ids stay exact.

    Options of CSV tables, such as ``sep`` and ``dtype``, are ignored: to change a CSV table to Parquet,
    change only ``type`` and ``filepath``. The table is one file.

    Example:
        .. code-block:: yaml

            raw_products:
              type: fb_marketplace.datasets.parquet_table.ParquetDataset
              filepath: data/01_raw/Assets/Products.parquet
    """

    def load(self) -> pd.DataFrame:
        """Read the table; see :func:`fb_marketplace.storage.tables.parquet_table.read_table`.

        Raises:
            UserError: the table is not a complete Parquet file, or has options.
        """
        path = str(self._get_load_path())
        url = path if self._protocol == "file" else f"{self._protocol}{PROTOCOL_DELIMITER}{path}"
        try:
            return read_table(url, self._load_args)
        except UserError as error:
            raise UserError(f"{url}: {error}") from error
