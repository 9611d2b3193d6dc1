"""A keyed Lance table as a catalog dataset."""

import threading
from typing import Any

from kedro.io import AbstractDataset, DatasetError, Version
from kedro.utils import load_obj

from fb_marketplace.errors import UserError
from fb_marketplace.storage import keyed_table
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table


class LanceTableDataset(AbstractDataset[Rows | KeepOnly, Table]):
    """Saves batches of rows in atomic commits. Loads a handle on one version.

    If a node yields batches, each is saved immediately. Rows whose keys exist stay unchanged. A
    ``KeepOnly`` deletes the rows with other keys. When the run loads the table or succeeds, :meth:`seal`
    tags the last commit with the run's version. Later loads use this tag.

    Example:
        .. code-block:: yaml

            images:
              type: fb_marketplace.datasets.lance_table.LanceTableDataset
              filepath: data/03_primary/images.lance
              schema: fb_marketplace.schemas.lance.IMAGES
              versioned: true
    """

    def __init__(
        self,
        filepath: str,
        schema: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Describe the table.

        Args:
            filepath: folder or URL of the table.
            schema: dotted name of its ``pyarrow`` schema, which has a column ``key``.
            version: the run's version, from Kedro if the entry is ``versioned``.
            metadata: for plugins, such as Kedro-Viz.
        """
        self._filepath = filepath
        self._schema_name = schema
        self._version = version
        self._committed: int | None = None
        self._expected: set[str] | None = None
        self._sealing = threading.Lock()
        self.metadata = metadata

    def load(self) -> Table:
        """Open the run's version of the table; the newest version if the entry is not versioned."""
        self.seal()
        try:
            return keyed_table.open_table(
                self._filepath, self._version.load if self._version else None
            )
        except keyed_table.TableMissingError as error:
            raise UserError(f"{error}. Run the pipeline that creates it.") from error

    def save(self, data: Rows | KeepOnly) -> None:
        """Commit rows, or delete rows that are not needed."""
        schema = load_obj(self._schema_name)
        keyed_table.ensure_table(self._filepath, schema)
        if isinstance(data, KeepOnly):
            self._committed = keyed_table.retain(self._filepath, data.keys)
            self._expected = set(data.existing & data.keys)
        else:
            self._committed = keyed_table.insert(
                self._filepath, data.select(schema.names).cast(schema)
            )
            if self._expected is not None:
                self._expected.update(data.column(keyed_table.KEY).to_pylist())

    def seal(self) -> None:
        """Tag the last commit with the run's version.

        Raises:
            UserError: its rows are not those that this run retained and added: another run wrote to it.
        """
        with self._sealing:
            if not self._version or self._committed is None:
                return
            keys = self._keys_at(self._committed)
            if self._expected is not None and sorted(keys) != sorted(self._expected):
                raise UserError(
                    f"{self._filepath} does not have the rows that this run wrote: another run with other "
                    "photos or parameters changed it, or its columns have changed. Rerun when no other run "
                    "is active."
                )
            keyed_table.tag(self._filepath, self._version.save, self._committed)
            self._committed = self._expected = None

    def _keys_at(self, version: int) -> list[str]:
        keys: list[str] = (
            keyed_table.open_table(self._filepath, version)
            .read([keyed_table.KEY])
            .column(keyed_table.KEY)
            .to_pylist()
        )
        return keys

    def _exists(self) -> bool:
        try:
            self.load()
        except DatasetError:
            return False
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "schema": self._schema_name, "version": self._version}
