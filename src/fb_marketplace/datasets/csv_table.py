"""A raw CSV table, of which what is spoiled in one place costs no row elsewhere."""

import io
from typing import Any

import pandas as pd
from kedro.io.core import PROTOCOL_DELIMITER
from kedro_datasets import pandas as kedro_pandas

from fb_marketplace.errors import UserError
from fb_marketplace.storage.csv_reader import TORN, Dialect, decode, part, places
from fb_marketplace.storage.filesystem import open_root


class CSVDataset(kedro_pandas.CSVDataset):  # type: ignore[misc]  # no stubs
    """Loads a table as Kedro's own dataset of that name does, with its options; torn lines are rows too.

    A torn line has no value in any column, and says in a further column, ``torn_line``, what was found. The
    first line of the file has to be its header.

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
            UserError: it ends in the middle of a row, or is written in another encoding.
        """
        path = str(self._get_load_path())
        local = self._protocol == "file"
        url = path if local else f"{self._protocol}{PROTOCOL_DELIMITER}{path}"
        told = dict(self._load_args)
        dialect = Dialect(
            told.get("sep") or told.get("delimiter") or ",",
            told.get("quotechar") or '"',
            told.get("lineterminator") or "",
        )
        try:
            rows = part(decode(_unpacked(url, told), told.pop("encoding", "utf-8")), dialect)
        except UserError as error:
            raise UserError(f"{url}: {error}") from error
        table: pd.DataFrame = pd.read_csv(io.StringIO(rows.text), **told)
        if not rows.torn:
            return table
        table.index = pd.Index(list(places(rows)))
        table = table.reindex(range(rows.number), fill_value="")
        table[TORN] = [rows.torn.get(number, "") for number in range(rows.number)]
        return table


def _unpacked(url: str, told: dict[str, Any]) -> bytes:
    """Read a file, unpacked as pandas would by its options or its name."""
    filesystem, path = open_root(url)
    with filesystem.open(path, "rb", compression=told.pop("compression", "infer")) as stream:
        data: bytes = stream.read()
    return data
