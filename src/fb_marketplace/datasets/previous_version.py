"""Previous version of a table that the run recomputes."""

from typing import Any

import pandas as pd
from kedro.io import DatasetError
from kedro_datasets.pandas import ParquetDataset


class PreviousParquetDataset(ParquetDataset):  # type: ignore[misc]  # no stubs
    """Loads the latest version of another entry's table; an empty table if there is none.

    ``metadata.previous_of`` names the entry; :class:`VersioningHooks` finds its latest version.

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
        """Read the table; empty if there is no previous version."""
        if self._version is None or self._version.load is None:
            return pd.DataFrame()
        table: pd.DataFrame = super().load()
        return table

    def save(self, data: Any) -> None:
        """Raise an error: the table is saved through its own entry."""
        raise DatasetError(
            f"Previous versions are read-only. Save {type(data)} through the dataset's own catalog entry."
        )
