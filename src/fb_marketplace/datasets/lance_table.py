"""A keyed Lance table as a catalog dataset."""

import threading
from typing import Any

from kedro.io import AbstractDataset, DatasetError, Version
from kedro.utils import load_obj

from fb_marketplace.errors import UserError
from fb_marketplace.storage import keyed_table
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table


class LanceTableDataset(AbstractDataset[Rows | KeepOnly, Table]):
    """Saves batches of rows, each as one atomic commit; loads a handle on one version.

    A node that yields batches has each saved as it comes. Rows whose key the table holds are left
    alone, and a ``KeepOnly`` deletes the rows that are no longer wanted. When the run loads it, or ends
    well, :meth:`seal` tags what was committed with the run's version; that tag is what loading asks for.

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
            version: the run's version, as Kedro gives it to datasets that are ``versioned``.
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
        """Open the version that the run reads; without one, the newest."""
        self.seal()
        try:
            return keyed_table.open_table(
                self._filepath, self._version.load if self._version else None
            )
        except keyed_table.TableMissingError as error:
            raise UserError(f"{error}; run the pipeline that makes it first") from error

    def save(self, data: Rows | KeepOnly) -> None:
        """Commit rows, or delete what is no longer wanted."""
        schema = load_obj(self._schema_name)
        keyed_table.ensure_table(self._filepath, schema)
        if isinstance(data, KeepOnly):
            self._committed = keyed_table.retain(self._filepath, data.keys)
            self._expected = set(data.held & data.keys)
        else:
            self._committed = keyed_table.insert(
                self._filepath, data.select(schema.names).cast(schema)
            )
            if self._expected is not None:
                self._expected.update(data.column(keyed_table.KEY).to_pylist())

    def seal(self) -> None:
        """Tag what was committed last with the run's version.

        Raises:
            UserError: it is not what was to be retained and added: another run wrote here meanwhile.
        """
        with self._sealing:
            if not self._version or self._committed is None:
                return
            held = self._keys_at(self._committed)
            if self._expected is not None and sorted(held) != sorted(self._expected):
                raise UserError(
                    f"{self._filepath} does not hold what this run found and added there: another "
                    "run, with other photos or parameters, wrote to it meanwhile, or its columns "
                    "have changed; run again when no other runs"
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
