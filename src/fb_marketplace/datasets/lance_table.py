"""A keyed Lance table as a catalog dataset."""

import threading
import time
from typing import Any, Final

from kedro.io import AbstractDataset, DatasetError, Version
from kedro.utils import load_obj

from fb_marketplace.errors import UserError
from fb_marketplace.storage import keyed_table
from fb_marketplace.storage.keyed_table import KEY, KeepOnly, Rows, Table
from fb_marketplace.storage.keys import KeyArray, Keys
from fb_marketplace.storage.table_writer import TableWriter, WrittenRows

COMMIT_SHARE: Final = 0.05
"""New rows are committed when they are this share of the table's rows. Small tables are committed often."""

MAX_UNCOMMITTED_SECONDS: Final = 60.0
"""New rows are committed at the latest when the next ones come after this time. A crash loses no more."""

MAX_UNCOMMITTED_BYTES: Final = 64 * 1024 * 1024


class LanceTableDataset(AbstractDataset[Rows | WrittenRows | KeepOnly, Table]):
    """Saves batches of rows in atomic commits. Loads a handle on one version.

    If a node yields batches, several are committed together, since each commit adds a file that every
    reader opens. Rows whose keys exist stay unchanged. A ``KeepOnly`` deletes the rows with other keys.
    When the run loads the table or succeeds, :meth:`seal` compacts it and tags it with the run's version.
    Later loads use this tag.

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
        self._writer: TableWriter | None = None
        self._uncommitted: list[Rows | WrittenRows] = []
        self._uncommitted_since = 0.0
        self._committed: int | None = None
        self._expected: list[KeyArray] | None = None
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

    def save(self, data: Rows | WrittenRows | KeepOnly) -> None:
        """Delete rows that are not needed, or add rows and commit those that are due."""
        schema = load_obj(self._schema_name)
        if self._writer is None:
            keyed_table.ensure_table(self._filepath, schema)
            self._writer = TableWriter(self._filepath)
        if isinstance(data, KeepOnly):
            self._commit(self._writer)
            self._committed = self._writer.retain(data.keys)
            self._expected = [(data.existing & data.keys).array]
            return
        if not self._uncommitted:
            self._uncommitted_since = time.monotonic()
        if not isinstance(data, WrittenRows):
            data = data.select(schema.names).cast(schema)
        self._uncommitted.append(data)
        if self._is_due(self._writer):
            self._commit(self._writer)

    def seal(self) -> None:
        """Commit the last rows, compact the table, and tag its version with the run's version.

        Raises:
            UserError: its rows are not those that this run retained and added: another run wrote to it.
        """
        with self._sealing:
            if self._writer is None:
                return
            self._commit(self._writer)
            if self._version and self._committed is not None:
                version = self._verified(self._writer, self._committed)
                keyed_table.tag(self._filepath, self._version.save, version)
            self._writer = self._committed = self._expected = None

    def _is_due(self, writer: TableWriter) -> bool:
        """Check whether the rows that are not committed yet are many, large in memory or old.

        Of rows that workers have written, only the keys are in memory.
        """
        return (
            sum(map(len, self._uncommitted)) >= COMMIT_SHARE * len(writer)
            or sum(rows.nbytes for rows in self._uncommitted) >= MAX_UNCOMMITTED_BYTES
            or time.monotonic() - self._uncommitted_since >= MAX_UNCOMMITTED_SECONDS
        )

    def _commit(self, writer: TableWriter) -> None:
        import pyarrow as pa

        if not self._uncommitted:
            return
        written = [rows for rows in self._uncommitted if isinstance(rows, WrittenRows)]
        schema = load_obj(self._schema_name)
        rows = pa.concat_tables(
            [
                schema.empty_table(),
                *(rows for rows in self._uncommitted if not isinstance(rows, WrittenRows)),
            ]
        )
        self._committed = writer.insert(rows, written)
        if self._expected is not None:
            self._expected += [*rows.column(KEY).chunks, *(part.keys for part in written)]
        self._uncommitted.clear()

    def _verified(self, writer: TableWriter, committed: int) -> int:
        """Compact the table, and return a version with exactly the rows of this run."""
        import pyarrow as pa

        if self._expected is None:
            return committed
        expected = Keys(pa.chunked_array(self._expected, pa.string()))
        for version in dict.fromkeys((writer.compact(committed), committed)):
            keys = keyed_table.open_table(self._filepath, version).read([KEY]).column(KEY)
            if len(keys) == len(expected) and Keys(keys) == expected:
                return version
        raise UserError(
            f"{self._filepath} does not have the rows that this run wrote: another run with other photos "
            "or parameters changed it, or its columns have changed. Rerun when no other run is active."
        )

    def _exists(self) -> bool:
        try:
            self.load()
        except DatasetError:
            return False
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "schema": self._schema_name, "version": self._version}
