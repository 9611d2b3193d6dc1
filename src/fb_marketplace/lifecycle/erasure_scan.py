"""Scan of a lake for everything that identifies any of some listings.

A listing is identified by its id and the ids of its photos; by its title, unless the title is one word or
appears in another listing; and by the digests and bytes of its photos, unless another listing has the same
photo. "Another" is one that is not to be erased. The scan covers the bytes of all files, the columns of
Parquet files, and the newest and tagged versions of Lance tables.
"""

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import Base64Bytes

from fb_marketplace.lifecycle.pattern_search import PatternSearch
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

IDS_PER_CONDITION: Final = 1000

_BYTES: Final = "\0"
"""Text that stands for the bytes of a photo."""

_PHOTO_DIGESTS: Final = {
    f"03_primary/images{TABLE}": ["sha256", "source_sha256"],
    f"03_primary/display_photos{TABLE}": ["sha256"],
}
"""Tables of photos, with their columns of digests."""


@dataclass(frozen=True, slots=True)
class ListingFingerprints:
    """Values that identify listings.

    Attributes:
        product_ids: their ids.
        image_ids: ids of their photos.
        titles: titles that identify them.
        digests: SHA-256 of their photos, in hex, as uploaded and as stored.
        photos: bytes of their photos, as stored.
    """

    product_ids: frozenset[str]
    image_ids: frozenset[str] = frozenset()
    titles: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()
    photos: frozenset[Base64Bytes] = frozenset()

    @property
    def texts(self) -> frozenset[str]:
        """All textual values: ids, titles and digests."""
        return (self.product_ids | self.image_ids | self.titles | self.digests) - {""}

    def __or__(self, other: "ListingFingerprints") -> "ListingFingerprints":
        """Return the fingerprints of the listings of both."""
        values = (getattr(self, name) | getattr(other, name) for name in self.__slots__)
        return ListingFingerprints(*values)


class ScanHit(NamedTuple):
    """A location of listings: a path relative to the lake's root; in a table also a tag or ``newest``."""

    path: str
    version: str = ""


class ScanResult(NamedTuple):
    """Locations of listings.

    Attributes:
        hits: the locations, sorted.
        product_ids: the listings whose ids occur there.
    """

    hits: tuple[ScanHit, ...]
    product_ids: frozenset[str]


def fingerprints_of(
    lake: Lake, product_ids: frozenset[str], known: ListingFingerprints | None = None
) -> ListingFingerprints:
    """Collect the fingerprints of listings from all versions in a lake.

    Args:
        lake: the lake.
        product_ids: ids of the listings.
        known: fingerprints from an interrupted erasure, which may have deleted their sources since.
    """
    known = known or ListingFingerprints(frozenset())
    product_ids |= known.product_ids
    files = list_files(lake, "02_intermediate", "03_primary")
    image_ids = set(known.image_ids)
    titles = dict[str, str]()
    listings: list[str] = []
    for path in sorted(files, key=_version, reverse=True):
        if "/cleaned_image_rows.parquet/" in path:
            rows = _rows(lake, path, ["image_id", "product_id"])
            image_ids |= {row["image_id"] for row in rows if row["product_id"] in product_ids}
        if "/products.parquet/" in path:
            listings.append(path)
            for row in _rows(lake, path, ["product_id", "title"]):
                if row["product_id"] in product_ids and row["title"]:
                    titles.setdefault(row["product_id"], row["title"])
    own_photos, other_digests = _photos(lake, product_ids)
    digests = {
        photo[name] for photo in own_photos for name in ("sha256", "source_sha256") if name in photo
    }
    photos = {hashlib.sha256(photo).hexdigest(): photo for photo in known.photos}
    photos |= {photo["sha256"]: photo["jpeg"] for photo in own_photos}
    return ListingFingerprints(
        product_ids,
        frozenset(image_ids | {photo["image_id"] for photo in own_photos}),
        _identifying(lake, listings, known.titles.union(titles.values()), product_ids),
        frozenset((known.digests | digests) - other_digests),
        frozenset(photo for digest, photo in photos.items() if digest not in other_digests),
    )


def scan_lake(lake: Lake, fingerprints: ListingFingerprints) -> ScanResult:
    """Find every file, and every table version, that contains any fingerprint of the listings.

    Raises:
        OSError: the lake cannot be read.
    """
    files = list_files(lake, *SCANNED_FOLDERS)
    patterns = _byte_patterns(fingerprints)
    search = PatternSearch(patterns)
    hits, texts = set[ScanHit](), set[str]()
    for path in files:
        matched = {patterns[pattern] for pattern in _find_in_file(lake, path, search)}
        if path.endswith(".parquet"):
            matched |= _find_in_parquet(lake, path, fingerprints, search, patterns)
        if matched:
            hits.add(ScanHit(parent_table(path) or path))
            texts |= matched
    for table in {table for path in files if (table := parent_table(path))}:
        for hit, ids in _scan_table(lake, table, fingerprints):
            hits.add(hit)
            texts |= ids
    return ScanResult(tuple(sorted(hits)), fingerprints.product_ids & texts)


def _identifying(
    lake: Lake, paths: Iterable[str], titles: Iterable[str], product_ids: frozenset[str]
) -> frozenset[str]:
    """Return the titles that have several words and occur in no other listing."""
    import pyarrow.compute as pc

    spellings = {
        title.lower().encode(): title for title in titles if len(title.split()) >= MIN_WORDS
    }
    search, common = PatternSearch(spellings), set[str]()
    for path in paths:
        table = _table(lake, path)
        for column in table.filter(pc.invert(_is_any(table["product_id"], product_ids))).columns:
            for leaf in filter(lambda leaf: _is_text(leaf.type), _leaves(column)):
                common |= {
                    spellings[matched] for matched in search.find(_joined(leaf).lower().encode())
                }
    return frozenset(spellings.values()) - common


def _photos(lake: Lake, product_ids: frozenset[str]) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the photos and renditions of listings in all table versions, and all others' digests."""
    import pyarrow.compute as pc

    photos: dict[str, dict[str, Any]] = {}
    other_digests: set[str] = set()
    for table, digests in _PHOTO_DIGESTS.items():
        for dataset, _ in _named_versions(lake, table):
            for condition in _conditions("product_id", product_ids):
                own = dataset.to_table(columns=["image_id", *digests, "jpeg"], filter=condition)
                photos |= {photo["sha256"]: photo for photo in own.to_pylist() if photo["jpeg"]}
            rows = dataset.to_table(columns=["product_id", *digests])
            others = rows.filter(pc.invert(_is_any(rows["product_id"], product_ids)))
            other_digests |= {digest for name in digests for digest in others[name].to_pylist()}
    return list(photos.values()), other_digests - {None}


def _scan_table(
    lake: Lake, table: str, fingerprints: ListingFingerprints
) -> Iterator[tuple[ScanHit, set[str]]]:
    """Yield each version of a table that has rows of the listings, and the ids in these rows."""
    ids = fingerprints.product_ids | fingerprints.image_ids
    for dataset, name in _named_versions(lake, table):
        for column in sorted({"product_id", "image_id"} & set(dataset.schema.names)):
            for condition in _conditions(column, ids):
                rows = dataset.to_table(columns=[column], filter=condition)
                if rows.num_rows:
                    yield ScanHit(table, name), set(rows[column].to_pylist())


def _conditions(column: str, values: Iterable[str]) -> Iterator[str]:
    """Yield conditions that select the rows with any of the values, some values at a time."""
    ordered = sorted(values)
    for start in range(0, len(ordered), IDS_PER_CONDITION):
        names = ", ".join(map(_quoted, ordered[start : start + IDS_PER_CONDITION]))
        yield f"{column} IN ({names})"


def _named_versions(lake: Lake, table: str) -> Iterator[tuple["lance.LanceDataset", str]]:
    """Yield each tagged version of a table with its tag, and the newest version."""
    try:
        newest = open_dataset(lake.name(table))
    except TableMissingError:
        return
    tags = {tag["version"]: name for name, tag in newest.tags.list().items()}
    for number, name in sorted(({newest.version: "newest"} | tags).items()):
        yield newest.checkout_version(number), name


def _find_in_parquet(
    lake: Lake,
    path: str,
    fingerprints: ListingFingerprints,
    search: PatternSearch,
    patterns: Mapping[bytes, str],
) -> set[str]:
    import pyarrow.parquet as pq

    matched: set[str] = set()
    with lake.open(path) as stream:
        for batch in pq.ParquetFile(stream).iter_batches():
            for column in batch.columns:
                for leaf in _leaves(column):
                    matched |= _find_in_column(leaf, fingerprints, search, patterns)
    return matched


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


def _find_in_column(
    column: "pa.Array",
    fingerprints: ListingFingerprints,
    search: PatternSearch,
    patterns: Mapping[bytes, str],
) -> set[str]:
    import pyarrow as pa

    kind = column.type
    if _is_text(kind):
        exact = column.filter(_is_any(column, fingerprints.texts))
        parts = (patterns[pattern] for pattern in search.find(_joined(column).encode()))
        long = {text for text in parts if len(text) >= MIN_LETTERS}
        return {str(text) for text in exact.to_pylist()} | long
    is_fixed = pa.types.is_fixed_size_binary(kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or is_fixed:
        values = {*map(bytes.fromhex, fingerprints.digests), *fingerprints.photos}
        return {_BYTES} if values & set(column.to_pylist()) else set()
    return set()


def _is_any(column: "pa.ChunkedArray | pa.Array", values: Iterable[str]) -> Any:
    """Return whether each text of a column is one of some values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_in(column, pa.array(sorted(values), column.type))


def _joined(column: "pa.Array") -> str:
    """Return the texts of a column as one, with a sign between them that is in no fingerprint."""
    return "\0".join(text for text in column.to_pylist() if text)


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _byte_patterns(fingerprints: ListingFingerprints) -> dict[bytes, str]:
    """Return the byte patterns of listings, each with the text that it spells.

    Texts are spelled plain and as JSON, photos raw and in base64.
    """
    patterns = dict[bytes, str]()
    for text in fingerprints.texts:
        if len(text) < MIN_LETTERS:
            patterns[json.dumps(text).encode()] = text
        else:
            patterns |= {text.encode(): text, json.dumps(text)[1:-1].encode(): text}
    for photo in fingerprints.photos:
        patterns |= {photo: _BYTES, base64.b64encode(photo): _BYTES}
    return patterns


def _find_in_file(lake: Lake, path: str, search: PatternSearch) -> set[bytes]:
    """Return the patterns that a file contains, even across block boundaries."""
    matched, tail = set[bytes](), b""
    for block in lake.blocks(path):
        data = tail + block
        matched |= search.find(data)
        tail = data[-search.longest :]
    return matched


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
