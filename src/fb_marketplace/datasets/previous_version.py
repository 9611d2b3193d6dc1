"""What the last run left of a table that this run makes anew."""

from typing import Any

import pandas as pd
from kedro.io import DatasetError
from kedro_datasets.pandas import ParquetDataset


class PreviousParquetDataset(ParquetDataset):  # type: ignore[misc]  # no stubs
    """Loads the version of another entry's table that the last run made; an empty table if none did.

    Which entry it is stands in ``metadata.previous_of``; the hook that fixes versions finds its version.

    Example:
        .. code-block:: yaml

            previous_splits:
              type: fb_marketplace.datasets.previous_version.PreviousParquetDataset
              filepath: data/05_model_input/splits.parquet
              versioned: true
              metadata:
                previous_of: splits
    """

    def load(self) -> pd.DataFrame:
        """Read the table, or make an empty one."""
        if self._version is None or self._version.load is None:
            return pd.DataFrame()
        table: pd.DataFrame = super().load()
        return table

    def save(self, data: Any) -> None:
        """Refuse: it is saved under its own name."""
        raise DatasetError(
            f"an earlier run left this; save {type(data)} under the entry's own name"
        )
