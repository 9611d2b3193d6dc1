"""Scan of a lake for everything that identifies a listing.

A listing is identified by its id and the ids of its photos; by its title, unless the title is one word or
appears in another listing; and by the digests and bytes of its photos, unless another listing has the same
photo. The scan covers the bytes of all files, the columns of Parquet files, and the newest and tagged
versions of Lance tables.
"""

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import Base64Bytes

from fb_marketplace.storage.keyed_table import TableMissingError, open_dataset
from fb_marketplace.storage.lake_layout import (
    LAYERS,
    TABLE,
    list_files,
    parent_table,
    parse_versioned,
)
from fb_marketplace_serving.storage.lake import Lake

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

SCANNED_FOLDERS: Final = (*LAYERS, "runs", "releases", "work", "receipts")

MIN_WORDS: Final = 2
"""Shorter titles are ignored: a single word also occurs in categories, indexes and other texts."""

MIN_LETTERS: Final = 8
"""A shorter id or title must match a complete value, not a part of a text or of bytes."""

_PHOTO_COLUMNS: Final = ("image_id", "sha256", "source_sha256", "jpeg")


@dataclass(frozen=True, slots=True)
class ListingFingerprints:
    """Values that identify a listing.

    Attributes:
        product_id: its id.
        image_ids: ids of its photos.
        title: its title, None if it does not identify the listing.
        digests: SHA-256 of its photos, in hex, as uploaded and as stored.
        photos: bytes of its photos, as stored.
    """

    product_id: str
    image_ids: frozenset[str] = frozenset()
    title: str | None = None
    digests: frozenset[str] = frozenset()
    photos: frozenset[Base64Bytes] = frozenset()

    @property
    def texts(self) -> frozenset[str]:
        """All textual values: ids, title and digests."""
        texts = {self.product_id, self.title or "", *self.image_ids, *self.digests}
        return frozenset(texts - {""})


class ScanHit(NamedTuple):
    """A location of a listing: a path relative to the lake's root; in a table also a tag or ``newest``."""

    path: str
    version: str = ""


def fingerprints_of(
    lake: Lake, product_id: str, known: ListingFingerprints | None = None
) -> ListingFingerprints:
    """Collect the fingerprints of a listing from all versions in a lake.

    Args:
        lake: the lake.
        product_id: id of the listing.
        known: fingerprints from an interrupted erasure, which may have deleted their sources since.
    """
    known = known or ListingFingerprints(product_id)
    files = list_files(lake, "02_intermediate", "03_primary")
    image_ids = set(known.image_ids)
    listings: list[str] = []
    for path in sorted(files, key=_version, reverse=True):
        if "/cleaned_image_rows.parquet/" in path:
            rows = _rows(lake, path, ["image_id", "product_id"])
            image_ids |= {row["image_id"] for row in rows if row["product_id"] == product_id}
        if "/products.parquet/" in path:
            listings.append(path)
    title = next(filter(None, (_title(lake, path, product_id) for path in listings)), known.title)
    if title and not _is_unique(lake, listings, title, product_id):
        title = None
    own_photos, other_digests = _photos(lake, product_id)
    digests = {photo[name] for photo in own_photos for name in ("sha256", "source_sha256")}
    photos = {hashlib.sha256(photo).hexdigest(): photo for photo in known.photos}
    photos |= {photo["sha256"]: photo["jpeg"] for photo in own_photos}
    return ListingFingerprints(
        product_id,
        frozenset(image_ids | {photo["image_id"] for photo in own_photos}),
        title,
        frozenset((known.digests | digests) - other_digests),
        frozenset(photo for digest, photo in photos.items() if digest not in other_digests),
    )


def scan_lake(lake: Lake, fingerprints: ListingFingerprints) -> list[ScanHit]:
    """Find every file, and every table version, that contains any fingerprint of a listing.

    Raises:
        OSError: the lake cannot be read.
    """
    files = list_files(lake, *SCANNED_FOLDERS)
    patterns = _byte_patterns(fingerprints)
    hits = {
        ScanHit(parent_table(path) or path)
        for path in files
        if _is_in_file(lake, path, patterns)
        or (path.endswith(".parquet") and _is_in_parquet(lake, path, fingerprints))
    }
    for table in {table for path in files if (table := parent_table(path))}:
        hits.update(_scan_table(lake, table, fingerprints))
    return sorted(hits)


def _title(lake: Lake, path: str, product_id: str) -> str | None:
    rows = _rows(lake, path, ["product_id", "title"])
    return next((row["title"] for row in rows if row["product_id"] == product_id), None)


def _is_unique(lake: Lake, paths: Iterable[str], title: str, product_id: str) -> bool:
    """Check that a title has several words and occurs in no other listing."""
    import pyarrow.compute as pc

    if len(title.split()) < MIN_WORDS:
        return False
    for path in paths:
        table = _table(lake, path)
        others = table.filter(pc.not_equal(table.column("product_id"), product_id))
        leaves = (leaf for column in others.columns for leaf in _leaves(column))
        texts = (leaf for leaf in leaves if _is_text(leaf.type))
        if any(pc.any(pc.match_substring(text, title, ignore_case=True)).as_py() for text in texts):
            return False
    return True


def _photos(lake: Lake, product_id: str) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the photos of a listing in all table versions, and the digests of all other photos."""
    photos: dict[str, dict[str, Any]] = {}
    other_digests: set[str] = set()
    digests = ["sha256", "source_sha256"]
    for dataset, _ in _named_versions(lake, f"03_primary/images{TABLE}"):
        own = dataset.to_table(
            columns=list(_PHOTO_COLUMNS), filter=f"product_id = {_quoted(product_id)}"
        )
        photos |= {photo["sha256"]: photo for photo in own.to_pylist()}
        others = dataset.to_table(columns=digests, filter=f"product_id != {_quoted(product_id)}")
        other_digests |= {digest for name in digests for digest in others[name].to_pylist()}
    return list(photos.values()), other_digests


def _scan_table(lake: Lake, table: str, fingerprints: ListingFingerprints) -> Iterator[ScanHit]:
    ids = sorted({fingerprints.product_id, *fingerprints.image_ids})
    values = ", ".join(map(_quoted, ids))
    for dataset, name in _named_versions(lake, table):
        columns = {"product_id", "image_id"} & set(dataset.schema.names)
        condition = " OR ".join(f"{column} IN ({values})" for column in sorted(columns))
        if condition and dataset.count_rows(filter=condition):
            yield ScanHit(table, name)


def _named_versions(lake: Lake, table: str) -> Iterator[tuple["lance.LanceDataset", str]]:
    """Yield each tagged version of a table with its tag, and the newest version."""
    try:
        newest = open_dataset(lake.name(table))
    except TableMissingError:
        return
    tags = {tag["version"]: name for name, tag in newest.tags.list().items()}
    for number, name in sorted(({newest.version: "newest"} | tags).items()):
        yield newest.checkout_version(number), name


def _is_in_parquet(lake: Lake, path: str, fingerprints: ListingFingerprints) -> bool:
    import pyarrow.parquet as pq

    with lake.open(path) as stream:
        return any(
            _is_in_column(leaf, fingerprints)
            for batch in pq.ParquetFile(stream).iter_batches()
            for column in batch.columns
            for leaf in _leaves(column)
        )


def _leaves(column: "pa.ChunkedArray | pa.Array") -> Iterator["pa.Array"]:
    """Yield the arrays of primitive values in a column, which may be nested."""
    import pyarrow as pa

    for chunk in getattr(column, "chunks", [column]):
        kind = chunk.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            yield from _leaves(chunk.flatten())
        elif pa.types.is_struct(kind):
            for member in chunk.flatten():
                yield from _leaves(member)
        elif pa.types.is_dictionary(kind):
            yield from _leaves(chunk.dictionary_decode())
        else:
            yield chunk


def _is_in_column(column: "pa.Array", fingerprints: ListingFingerprints) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if _is_text(kind):
        if pc.any(pc.is_in(column, pa.array(sorted(fingerprints.texts), kind))).as_py():
            return True
        long = [text for text in fingerprints.texts if len(text) >= MIN_LETTERS]
        return any(pc.any(pc.match_substring(column, text)).as_py() for text in long)
    is_fixed = pa.types.is_fixed_size_binary(kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or is_fixed:
        values = {*map(bytes.fromhex, fingerprints.digests), *fingerprints.photos}
        return bool(values & set(column.to_pylist()))
    return False


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _byte_patterns(fingerprints: ListingFingerprints) -> list[bytes]:
    """Return the byte patterns of a listing: texts, plain and as JSON, and photos, raw and in base64."""
    long = {text for text in fingerprints.texts if len(text) >= MIN_LETTERS}
    patterns = {text.encode() for text in long}
    patterns |= {json.dumps(text)[1:-1].encode() for text in long}
    patterns |= {json.dumps(text).encode() for text in fingerprints.texts - long}
    patterns |= fingerprints.photos | {base64.b64encode(photo) for photo in fingerprints.photos}
    return sorted(patterns)


def _is_in_file(lake: Lake, path: str, patterns: Sequence[bytes]) -> bool:
    """Check whether a file contains a pattern, even across block boundaries."""
    overlap = max(map(len, patterns))
    tail = b""
    for block in lake.blocks(path):
        data = tail + block
        if any(pattern in data for pattern in patterns):
            return True
        tail = data[-overlap:]
    return False


def _rows(lake: Lake, path: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _table(lake, path, columns).to_pylist()
    return rows


def _table(lake: Lake, path: str, columns: Sequence[str] | None = None) -> "pa.Table":
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(lake.read(path)), columns=columns)


def _version(path: str) -> str:
    versioned = parse_versioned(path)
    return versioned.version if versioned else ""


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
