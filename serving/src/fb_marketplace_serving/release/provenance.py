"""Provenance of each listing: its raw row, its photo objects, and the decisions of cleaning.

The artifact ``provenance`` is Parquet with one row per listing, sorted by id. Row groups are small, so
that reading one listing decodes one group.
"""

import json
import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    NamedTuple,
    get_args,
    get_origin,
    get_type_hints,
)

from fb_marketplace_serving.storage.parquet import (
    ROWS_PER_GROUP,
    SortedRows,
    open_parquet,
    write_parquet,
)
from fb_marketplace_serving.storage.private_file import Content

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pydantic import TypeAdapter

SourceName = Literal["products", "images", "photos"]
SOURCES: Final[tuple[SourceName, ...]] = get_args(SourceName)

_SOURCES_KEY: Final = b"sources"
"""Key of the Parquet metadata that contains the sources."""


class ProvenanceError(ValueError):
    """Bytes that are not a provenance artifact."""


class UnknownProductError(LookupError):
    """The release has no such listing."""


class Source(NamedTuple):
    """A file or folder of the raw bucket, as cleaning read it.

    Attributes:
        url: its location.
        bytes: its size; None for a folder.
        sha256: its digest, in hex; None for a folder.
    """

    url: str
    bytes: int | None = None
    sha256: str | None = None


class RejectedRow(NamedTuple):
    """A rejected row of the table of listings that has the id of a kept listing.

    Attributes:
        row: row number, from 0.
        reason: a reason code.
        detail: a description.
    """

    row: int
    reason: str
    detail: str


class DuplicatePhoto(NamedTuple):
    """Another photo of the same picture.

    Attributes:
        image_id: the other photo.
        product_id: its listing.
        exact: True if the bytes are equal, as uploaded or in canonical form; False for a near-duplicate.
    """

    image_id: str
    product_id: str
    exact: bool


class PhotoProvenance(NamedTuple):
    """Provenance of a photo.

    Attributes:
        image_id: the photo.
        row: number of its row in the table of images, from 0.
        repeated_in: numbers of identical rows.
        source_key: key of the uploaded object, relative to the folder of photos.
        source_etag: the store's ETag; for a file on disk, its modification time.
        source_size: size of the object in bytes.
        source_sha256: SHA-256 of the object, in hex.
        format: format of the object, detected from its content.
        width: width of the object, in pixels.
        height: height of the object, in pixels.
        sha256: SHA-256 of the canonical JPEG, in hex.
        oldest_copy: the oldest photo of the same picture, possibly this one; None if there is no copy.
        copies: number of other photos of the same picture.
        some_copies: these photos, or the first of them if there are many.
    """

    image_id: str
    row: int
    repeated_in: list[int]
    source_key: str
    source_etag: str
    source_size: int
    source_sha256: str
    format: str
    width: int
    height: int
    sha256: str
    oldest_copy: str | None
    copies: int
    some_copies: list[DuplicatePhoto]


class RejectedPhoto(NamedTuple):
    """A rejected row of the table of images that names a photo of the listing.

    Attributes:
        image_id: the photo.
        row: row number, from 0.
        reason: a reason code.
        detail: a description.
        source_key: key of the unusable object, relative to the folder of photos; None if the row was
            rejected for another reason, or if there is no object.
        source_etag: as in :class:`PhotoProvenance`.
        source_size: size of the object in bytes.
    """

    image_id: str
    row: int
    reason: str
    detail: str
    source_key: str | None
    source_etag: str | None
    source_size: int | None


class ListingProvenance(NamedTuple):
    """Provenance of a listing. The fields are the columns of the artifact, in order.

    Attributes:
        product_id: the listing.
        row: number of its row in the table of listings, from 0.
        repeats: number of identical rows that were merged into it.
        rejected: rejected rows with its id.
        price_flag: ``missing``, ``zero``, ``joke`` or ``absurd``; None for a plausible price.
        odd_category_depth: whether its category path is unusually long or short.
        copy_of: the oldest listing with the same title and description; None if that is this one.
        group: the oldest listing of its group: listings linked by shared photos or descriptions.
        group_listings: size of the group.
        split: ``train``, ``validation`` or ``test``; the same for the entire group.
        photos: photos in the order of their rows.
        rejected_photos: rejected photos in the order of their rows.
    """

    product_id: str
    row: int
    repeats: int
    rejected: list[RejectedRow]
    price_flag: str | None
    odd_category_depth: bool
    copy_of: str | None
    group: str
    group_listings: int
    split: str
    photos: list[PhotoProvenance]
    rejected_photos: list[RejectedPhoto]


def write_provenance(
    listings: Iterable[ListingProvenance], sources: Mapping[SourceName, Source]
) -> bytes:
    """Return the artifact as Parquet; the same bytes each time.

    Args:
        listings: provenance of each listing, sorted by id.
        sources: the tables of listings and of images, and the folder of photos.
    """
    import pyarrow as pa

    records = {name: sources[name]._asdict() for name in SOURCES}
    schema = _schema().with_metadata({_SOURCES_KEY: json.dumps(records)})
    table = pa.Table.from_pylist([_to_record(listing) for listing in listings], schema=schema)
    return write_parquet(table, row_group_size=ROWS_PER_GROUP)


class ProvenanceTable:
    """The provenance of the listings of one release. Thread-safe."""

    def __init__(self, data: Content) -> None:
        """Wrap the verified artifact.

        Raises:
            ProvenanceError: the bytes are not a provenance artifact.
        """
        _open(data)
        self._rows = SortedRows(data)

    def get(self, product_id: str) -> ListingProvenance | None:
        """Return the provenance of a listing; None if the release has no such listing."""
        row = self._rows.find(product_id)
        return None if row is None else _adapter().validate_python(row)


def read_sources(data: Content) -> dict[SourceName, Source]:
    """Return the raw tables and the folder of photos that a release was made from.

    Args:
        data: the verified artifact.

    Raises:
        ProvenanceError: the bytes are not a provenance artifact, or its metadata lack the sources.
    """
    records = json.loads((_open(data).schema_arrow.metadata or {}).get(_SOURCES_KEY, b"{}"))
    if not records.keys() >= set(SOURCES):
        raise ProvenanceError(
            f"found the sources {', '.join(sorted(records)) or 'none'}; expected "
            f"{', '.join(SOURCES)}"
        )
    return {name: Source(**records[name]) for name in SOURCES}


def _open(data: Content) -> "pq.ParquetFile":
    file = open_parquet(data, ProvenanceError)
    schema = file.schema_arrow
    if not schema.equals(_schema()):
        raise ProvenanceError(
            f"found the columns {', '.join(schema.names)}; expected "
            f"{', '.join(ListingProvenance._fields)}, with the types that this version writes"
        )
    return file


def _to_record(value: Any) -> Any:
    """Convert nested named tuples to dictionaries."""
    if isinstance(value, list):
        return [_to_record(item) for item in value]
    if hasattr(value, "_asdict"):
        return {name: _to_record(item) for name, item in value._asdict().items()}
    return value


@cache
def _adapter() -> "TypeAdapter[ListingProvenance]":
    from pydantic import TypeAdapter

    return TypeAdapter(ListingProvenance)


@cache
def _schema() -> "pa.Schema":
    """Return the Arrow schema of the fields of :class:`ListingProvenance`."""
    import pyarrow as pa

    return pa.schema(list(_arrow_type(ListingProvenance)))


def _arrow_type(hint: Any) -> "pa.DataType":
    import pyarrow as pa

    scalars = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}
    if hint in scalars:
        return scalars[hint]
    if get_origin(hint) is list:
        return pa.list_(_arrow_type(get_args(hint)[0]))
    if get_origin(hint) is types.UnionType:  # with None
        return _arrow_type(get_args(hint)[0])
    return pa.struct([(name, _arrow_type(field)) for name, field in get_type_hints(hint).items()])
