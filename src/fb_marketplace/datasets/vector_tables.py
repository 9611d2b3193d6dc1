"""Lance tables of vectors for servers: one folder per version, with a list of its tables."""

import json
from collections.abc import Mapping
from typing import Any, Final

from fb_marketplace.ann.vector_tables import VectorTableSource, WrittenTable
from fb_marketplace.datasets.file import LakeDataset

TABLES: Final = "tables.json"
"""File with the version of each table. It is written last."""


class VectorTablesDataset(LakeDataset[Mapping[str, VectorTableSource], dict[str, WrittenTable]]):
    """Writes tables by name. Loads their URLs and versions.

    Example:
        .. code-block:: yaml

            vector_tables:
              type: fb_marketplace.datasets.vector_tables.VectorTablesDataset
              filepath: data/07_model_output/vector_tables
              versioned: true
    """

    def load(self) -> dict[str, WrittenTable]:
        """Return the tables of the version, by the URL of each."""
        path = str(self._get_load_path())
        file = f"{path}/{TABLES}"
        if not self._filesystem.exists(file):
            raise FileNotFoundError(
                f"File {file} does not exist. Run the pipeline that creates it."
            )
        tables = json.loads(self._filesystem.cat_file(file))
        return {
            f"{self._root}{path}/{name}": WrittenTable(**table) for name, table in tables.items()
        }

    def save(self, data: Mapping[str, VectorTableSource]) -> None:
        """Write the tables one by one."""
        path = str(self._get_save_path())
        self._filesystem.makedirs(path, exist_ok=True)
        tables: dict[str, Any] = {
            name: source.write(f"{self._root}{path}/{name}")._asdict()
            for name, source in data.items()
        }
        content = json.dumps(tables, indent=1, sort_keys=True).encode()
        self._filesystem.pipe_file(f"{path}/{TABLES}", content)
