"""A raw CSV table, read by a parser that tolerates damaged lines."""

import io

import pandas as pd
from kedro.io.core import PROTOCOL_DELIMITER
from kedro_datasets import pandas as kedro_pandas

from fb_marketplace.errors import UserError
from fb_marketplace.storage.csv_reader import TORN, Dialect, complete_rows, decode, parse_rows
from fb_marketplace.storage.filesystem import open_root


class CSVDataset(kedro_pandas.CSVDataset):  # type: ignore[misc]  # no stubs
    """Loads a table like Kedro's ``CSVDataset``, with the same options, but includes torn lines as rows.

    The row of a torn line has no values; the additional column ``torn_line`` describes it. The first line
    of the file must be the header.

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
            UserError: the table ends in the middle of a row, or has another encoding.
        """
        path = str(self._get_load_path())
        url = path if self._protocol == "file" else f"{self._protocol}{PROTOCOL_DELIMITER}{path}"
        options = dict(self._load_args)
        # Like pandas: from the option, or from the file extension.
        compression = options.pop("compression", "infer")
        encoding = options.pop("encoding", "utf-8")
        filesystem, path = open_root(url)
        with filesystem.open(path, "rb", compression=compression) as stream:
            data: bytes = stream.read()
        try:
            rows = parse_rows(decode(data, encoding), Dialect.of_pandas(options))
        except UserError as error:
            raise UserError(f"{url}: {error}") from error
        table: pd.DataFrame = pd.read_csv(io.StringIO(rows.text), **options)
        if not rows.torn:
            return table
        table.index = pd.Index(list(complete_rows(rows)))
        table = table.reindex(range(rows.total), fill_value="")
        table[TORN] = [rows.torn.get(number, "") for number in range(rows.total)]
        return table
