"""A raw CSV table, read by a parser that tolerates damaged lines."""

import pandas as pd
from kedro.io.core import PROTOCOL_DELIMITER
from kedro_datasets import pandas as kedro_pandas

from fb_marketplace.errors import UserError
from fb_marketplace.storage.tables.csv_table import read_table


class CSVDataset(kedro_pandas.CSVDataset):  # type: ignore[misc]  # no stubs
    """Loads a table like Kedro's ``CSVDataset``, but detects its format and includes torn lines as rows.

    The row of a torn line has no values; the additional column ``torn_line`` describes it. Options that
    would drop rows are rejected.

    Example:
        .. code-block:: yaml

            raw_products:
              type: fb_marketplace.datasets.csv_table.CSVDataset
              filepath: data/01_raw/Assets/Products.csv
              load_args:
                dtype: str
                na_filter: false
    """

    def load(self) -> pd.DataFrame:
        """Read the table.

        Raises:
            UserError: the table is truncated, or cannot be read with these options.
        """
        path = str(self._get_load_path())
        url = path if self._protocol == "file" else f"{self._protocol}{PROTOCOL_DELIMITER}{path}"
        try:
            return read_table(url, self._load_args)
        except UserError as error:
            raise UserError(f"{url}: {error}") from error
