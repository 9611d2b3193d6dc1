"""Where each listing of a release comes from: its raw row, its photos' objects, what cleaning decided.

The artifact ``provenance`` is Parquet, a row a listing, sorted by id and in small groups of rows, so that
one listing is found by what the file says of each group. It is for people who ask: no server opens it.
"""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SourceName = Literal["products", "images", "photos"]
SOURCES: Final[tuple[SourceName, ...]] = get_args(SourceName)

_SOURCES_KEY: Final = b"sources"
"""What the metadata of the Parquet file calls the places that all its rows come from."""

_ROWS_PER_GROUP: Final = 1024


class ProvenanceError(ValueError):
    """Bytes that say of no listing where it comes from; says what was found and what was expected."""


class UnknownProductError(LookupError):
    """A release has no such listing; says in one line what to ask for instead."""


class Source(NamedTuple):
    """A file or folder of the raw bucket, as it was when it was cleaned.

    Attributes:
        url: where it is.
        bytes: its size; None of a folder.
        sha256: its digest, in hex; None of a folder.
    """

    url: str
    bytes: int | None = None
    sha256: str | None = None


class RejectedRow(NamedTuple):
    """A further row of the table of listings that has a listing's id, and was turned away.

    Attributes:
        row: its number, from 0.
        reason: why, in a word.
        detail: what was found.
    """

    row: int
    reason: str
    detail: str


class DuplicatePhoto(NamedTuple):
    """Another photo that shows the same picture.

    Attributes:
        image_id: that photo.
        product_id: the listing that it is of.
        exact: whether its bytes are the same, as uploaded or as a canonical photo; else it is nearly the
            same, or like one that is.
    """

    image_id: str
    product_id: str
    exact: bool


class PhotoProvenance(NamedTuple):
    """Where a photo comes from.

    Attributes:
        image_id: the photo.
        row: the number of its row in the table of images, from 0.
        repeated_in: the numbers of further rows that say the same.
        source_key: its object, below the folder of photos.
        source_etag: what the store called that content; of a file on disk, when it was last changed.
        source_size: bytes of the object.
        source_sha256: its digest, in hex.
        format: format of the object, by its content.
        width: of the object, in pixels.
        height: of the object, in pixels.
        sha256: digest of the canonical JPEG that was made of it, in hex.
        oldest_copy: the oldest photo of those that show the same picture, which may be this one; None
            where no other does.
        copies: how many others show the same picture.
        some_copies: those others, or some of them.
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
    """A row of the table of images that names a listing's photo, and was turned away.

    Attributes:
        image_id: the photo that it names.
        row: its number, from 0.
        reason: why, in a word.
        detail: what was found.
        source_key: the object that could not be used, below the folder of photos; None where that was not
            why, or there is none.
        source_etag: as of a photo that was kept.
        source_size: bytes of the object.
    """

    image_id: str
    row: int
    reason: str
    detail: str
    source_key: str | None
    source_etag: str | None
    source_size: int | None


class ListingProvenance(NamedTuple):
    """Where a listing comes from. Its fields are the columns of the artifact, in order.

    Attributes:
        product_id: the listing.
        row: the number of its row in the table of listings, from 0.
        repeats: how many further rows say the same, and were folded into it.
        turned_away: further rows that have its id, but were turned away.
        price_flag: ``zero``, ``joke`` or ``absurd``; None for a price that may be meant.
        odd_category_depth: whether its category path is longer or shorter than is usual.
        copy_of: the oldest listing with its title and description; None where that is this one.
        group: the oldest of the listings that share a photo or a description with it, by way of others
        too.
        group_listings: how many those are, with itself.
        split: ``train``, ``validation`` or ``test``, where that whole group is.
        photos: in the order of their rows.
        photos_turned_away: likewise.
    """

    product_id: str
    row: int
    repeats: int
    turned_away: list[RejectedRow]
    price_flag: str | None
    odd_category_depth: bool
    copy_of: str | None
    group: str
    group_listings: int
    split: str
    photos: list[PhotoProvenance]
    photos_turned_away: list[RejectedPhoto]


def write_provenance(
    origins: Iterable[ListingProvenance], sources: Mapping[SourceName, Source]
) -> bytes:
    """Write the artifact; the same bytes each time.

    Args:
        origins: of every listing, sorted by id.
        sources: the tables of listings and of images, and the folder of photos.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    told = {name: sources[name]._asdict() for name in SOURCES}
    schema = _schema().with_metadata({_SOURCES_KEY: json.dumps(told)})
    table = pa.Table.from_pylist([_as_row(origin) for origin in origins], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=_ROWS_PER_GROUP, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_provenance(data: bytes, product_id: str) -> ListingProvenance | None:
    """Read where one listing comes from; None where the release has no such listing.

    Args:
        data: the artifact, whose digest matched.
        product_id: the listing.

    Raises:
        ProvenanceError: it is no such table.
    """
    file = _open(data)
    # Not by filters of pyarrow.dataset, whose import takes seconds where pandas is installed.
    for group in range(file.num_row_groups):
        ids = file.metadata.row_group(group).column(0).statistics
        if ids is None or ids.min <= product_id <= ids.max:
            listed = file.read_row_group(group, columns=["product_id"]).column(0).to_pylist()
            if product_id in listed:
                place = listed.index(product_id)
                return _of_row(file.read_row_group(group).slice(place, 1).to_pylist()[0])
    return None


def read_sources(data: bytes) -> dict[SourceName, Source]:
    """Read where the tables and the photos were that a release was made from.

    Args:
        data: the artifact, whose digest matched.

    Raises:
        ProvenanceError: it does not say so.
    """
    told = json.loads((_open(data).schema_arrow.metadata or {}).get(_SOURCES_KEY, b"{}"))
    if not told.keys() >= set(SOURCES):
        raise ProvenanceError(
            f"found the sources {', '.join(sorted(told)) or 'of nothing'}; expected {', '.join(SOURCES)}"
        )
    return {name: Source(**told[name]) for name in SOURCES}


def _open(data: bytes) -> "pq.ParquetFile":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise ProvenanceError(f"found {len(data):,} bytes that are no Parquet ({error})") from error
    found = file.schema_arrow
    if not found.equals(_schema()):
        raise ProvenanceError(
            f"found the columns {', '.join(found.names)}; expected "
            f"{', '.join(ListingProvenance._fields)}, of the types that this version of the package writes"
        )
    return file


def _as_row(origin: ListingProvenance) -> dict[str, Any]:
    photos = [
        photo._asdict() | {"some_copies": [copy._asdict() for copy in photo.some_copies]}
        for photo in origin.photos
    ]
    return origin._asdict() | {
        "turned_away": [each._asdict() for each in origin.turned_away],
        "photos": photos,
        "photos_turned_away": [each._asdict() for each in origin.photos_turned_away],
    }


def _of_row(row: dict[str, Any]) -> ListingProvenance:
    photos = [
        PhotoProvenance(
            **photo | {"some_copies": [DuplicatePhoto(**copy) for copy in photo["some_copies"]]}
        )
        for photo in row["photos"]
    ]
    nested = {
        "turned_away": [RejectedRow(**each) for each in row["turned_away"]],
        "photos": photos,
        "photos_turned_away": [RejectedPhoto(**each) for each in row["photos_turned_away"]],
    }
    return ListingProvenance(**row | nested)


def _schema() -> "pa.Schema":
    import pyarrow as pa

    text, number, yes_or_no = pa.string(), pa.int64(), pa.bool_()

    def fields(names: tuple[str, ...], *types: "pa.DataType") -> list["pa.Field"]:
        return [pa.field(name, kind) for name, kind in zip(names, types, strict=True)]

    def rows(names: tuple[str, ...], *types: "pa.DataType") -> "pa.DataType":
        return pa.list_(pa.struct(fields(names, *types)))

    copies = rows(DuplicatePhoto._fields, text, text, yes_or_no)
    source = (text, text, number)
    photos = rows(
        PhotoProvenance._fields,
        *(text, number, pa.list_(number)),
        *(*source, text, text, number, number, text),
        *(text, number, copies),
    )
    return pa.schema(
        fields(
            ListingProvenance._fields,
            *(text, number, number, rows(RejectedRow._fields, number, text, text)),
            *(text, yes_or_no, text, text, number, text),
            photos,
            rows(RejectedPhoto._fields, text, number, text, text, *source),
        )
    )
