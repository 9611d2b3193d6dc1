"""Descriptions of the listings of a release, read one at a time.

The artifact ``descriptions`` is Parquet with one row per listing, sorted by id. It stays compressed.
Row groups are small, so that reading one description decodes one group.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Self

from fb_marketplace_serving.storage.columns import IdColumn, column_of
from fb_marketplace_serving.storage.parquet import (
    ROWS_PER_GROUP,
    SortedRows,
    open_parquet,
    write_parquet,
)
from fb_marketplace_serving.storage.private_file import Content

if TYPE_CHECKING:
    import pyarrow as pa

MAX_LENGTH: Final = 4000
"""Maximum characters of a description. Half of the real ones exceed 170, and one in a thousand 6,800."""

_COLUMNS: Final = ("product_id", "description")


def write_descriptions(product_ids: Sequence[str], descriptions: Sequence[str]) -> bytes:
    """Return the artifact. Longer descriptions are cut.

    Args:
        product_ids: the listings, sorted.
        descriptions: the description of each.
    """
    import pyarrow as pa

    bounded = [
        text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1].rstrip()}…"
        for text in descriptions
    ]
    table = pa.table([product_ids, bounded], schema=_schema())
    return write_parquet(table, row_group_size=ROWS_PER_GROUP)


class Descriptions:
    """The descriptions of one release. Thread-safe."""

    def __init__(self, data: Content) -> None:
        """Wrap the artifact; see :meth:`from_bytes`."""
        self._data, self._rows = data, SortedRows(data)

    @classmethod
    def from_bytes(cls, data: Content) -> Self:
        """Wrap the verified artifact.

        Raises:
            ValueError: the bytes are not Parquet, or the columns differ.
        """
        file = open_parquet(data)
        if not file.schema_arrow.equals(_schema()):
            raise ValueError(
                f"found the columns {', '.join(file.schema_arrow.names)}; expected "
                f"{', '.join(_COLUMNS)}, both texts"
            )
        return cls(data)

    @property
    def product_ids(self) -> IdColumn:
        """The listings, in the order of the artifact."""
        return IdColumn(column_of(open_parquet(self._data).read(["product_id"]), "product_id"))

    def get(self, product_id: str) -> str | None:
        """Return the description of a listing; None if there is no such listing."""
        row = self._rows.find(product_id)
        return None if row is None else row["description"]


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in _COLUMNS])
