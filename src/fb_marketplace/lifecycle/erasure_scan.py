"""What a listing is known by, and where in a lake any of it still is.

Its id and the ids of its photos; its title, unless it is one word or another listing says it; the digests
and the bytes of its photos, unless another listing has the same picture. Texts, tables and the bytes of all
other files are searched, in each version that there is.
"""

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fb_marketplace.storage.filesystem import lance_options, open_root
from fb_marketplace.storage.lake_layout import LAYERS, TABLE, files_below, table_of, versioned
from fb_marketplace_serving.storage.lake import Lake

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

SCANNED_FOLDERS: Final = (*LAYERS, "runs", "releases", "work", "receipts")

MIN_WORDS: Final = 2
"""A title of less is not told from a word of a category, of an index or of another text."""

MIN_LETTERS: Final = 8
"""A shorter id or title is looked for where it is all of a cell, not within texts or bytes."""

_OWN: Final = ("image_id", "sha256", "source_sha256", "jpeg")


@dataclass(frozen=True, slots=True)
class ListingFingerprints:
    """What a listing is known by.

    Attributes:
        product_id: its id.
        image_ids: of its photos.
        title: what it says, where that is its own; else None.
        digests: sha256 of its photos, in hex, as they came and as they are stored.
        photos: their bytes, as they are stored.
    """

    product_id: str
    image_ids: frozenset[str] = frozenset()
    title: str | None = None
    digests: frozenset[str] = frozenset()
    photos: frozenset[bytes] = frozenset()

    @property
    def words(self) -> frozenset[str]:
        """All of it that is text."""
        told = {self.product_id, self.title or "", *self.image_ids, *self.digests}
        return frozenset(told - {""})


class ScanHit(NamedTuple):
    """A place where something of a listing is: a path from the lake's root, and a version of a table."""

    path: str
    version: str = ""


def fingerprints_of(
    lake: str, product_id: str, before: ListingFingerprints | None = None
) -> ListingFingerprints:
    """Gather what a listing is known by, from whatever versions a lake still has.

    Args:
        lake: its root.
        product_id: of the listing.
        before: what it was known by when the lake still had more of it.
    """
    before = before or ListingFingerprints(product_id)
    files = files_below(lake, "02_intermediate", "03_primary")
    image_ids = set(before.image_ids)
    listings: list[str] = []
    for path in sorted(files, key=_version, reverse=True):
        if "/cleaned_image_rows.parquet/" in path:
            rows = _rows(lake, path, ["image_id", "product_id"])
            image_ids |= {row["image_id"] for row in rows if row["product_id"] == product_id}
        if "/products.parquet/" in path:
            listings.append(path)
    title = next(filter(None, (_title(lake, path, product_id) for path in listings)), before.title)
    if title and not _is_own(lake, listings, title, product_id):
        title = None
    own_photos, of_others = _photos(lake, product_id)
    digests = {photo[name] for photo in own_photos for name in ("sha256", "source_sha256")}
    photos = {hashlib.sha256(photo).hexdigest(): photo for photo in before.photos}
    photos |= {photo["sha256"]: photo["jpeg"] for photo in own_photos}
    return ListingFingerprints(
        product_id,
        frozenset(image_ids | {photo["image_id"] for photo in own_photos}),
        title,
        frozenset((before.digests | digests) - of_others),
        frozenset(photo for digest, photo in photos.items() if digest not in of_others),
    )


def scan_lake(lake: str, traces: ListingFingerprints) -> list[ScanHit]:
    """Find every file, and every version of a table, that has anything of a listing.

    Raises:
        OSError: the lake cannot be read.
    """
    files = files_below(lake, *SCANNED_FOLDERS)
    store, written = Lake(lake), _written(traces)
    hits = [
        ScanHit(table_of(path) or path)
        for path in files
        if _in_file(store, path, written)
        or (path.endswith(".parquet") and _in_parquet(lake, path, traces))
    ]
    tables = sorted({table for path in files if (table := table_of(path))})
    hits += [hit for table in tables for hit in _in_table(lake, table, traces)]
    return sorted(set(hits))


def _title(lake: str, path: str, product_id: str) -> str | None:
    rows = _rows(lake, path, ["product_id", "title"])
    title: str | None = next(
        (row["title"] for row in rows if row["product_id"] == product_id), None
    )
    return title


def _is_own(lake: str, paths: Iterable[str], title: str, product_id: str) -> bool:
    """Tell whether nothing but this listing says a title; one word is anybody's."""
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


def _photos(lake: str, product_id: str) -> tuple[list[dict[str, Any]], set[str]]:
    """Give the photos of a listing in all versions of the table, and the digests that others have too."""
    found: dict[str, dict[str, Any]] = {}
    of_others: set[str] = set()
    for dataset, _ in _versions(f"{lake}/03_primary/images{TABLE}"):
        own = dataset.to_table(columns=list(_OWN), filter=f"product_id = {_quoted(product_id)}")
        found |= {photo["sha256"]: photo for photo in own.to_pylist()}
        digests = ["sha256", "source_sha256"]
        others = dataset.to_table(columns=digests, filter=f"product_id != {_quoted(product_id)}")
        of_others |= {each for name in digests for each in others[name].to_pylist()}
    return list(found.values()), of_others


def _in_table(lake: str, table: str, traces: ListingFingerprints) -> Iterator[ScanHit]:
    wanted = ", ".join(_quoted(name) for name in sorted({traces.product_id, *traces.image_ids}))
    for dataset, name in _versions(f"{lake}/{table}"):
        columns = {"product_id", "image_id"} & set(dataset.schema.names)
        asked = " OR ".join(f"{column} IN ({wanted})" for column in sorted(columns))
        if asked and dataset.count_rows(filter=asked):
            yield ScanHit(table, name)


def _versions(url: str) -> Iterator[tuple["lance.LanceDataset", str]]:
    """Open each version of a table that has a name, and the newest."""
    import lance

    try:
        newest = lance.dataset(url, storage_options=lance_options(url))
    except ValueError as error:
        if "not found" in str(error).lower():
            return
        raise
    named = {tag["version"]: name for name, tag in newest.tags.list().items()}
    for number, name in sorted(({newest.version: "newest"} | named).items()):
        yield newest.checkout_version(number), name


def _in_parquet(lake: str, path: str, traces: ListingFingerprints) -> bool:
    import pyarrow.parquet as pq

    filesystem, root = open_root(lake)
    with filesystem.open(f"{root}/{path}", "rb") as stream:
        return any(
            _in_column(leaf, traces)
            for batch in pq.ParquetFile(stream).iter_batches()
            for column in batch.columns
            for leaf in _leaves(column)
        )


def _leaves(column: "pa.ChunkedArray | pa.Array") -> Iterator["pa.Array"]:
    """Give the columns of plain values that a column is made of."""
    import pyarrow as pa

    for chunk in getattr(column, "chunks", [column]):
        kind = chunk.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            yield from _leaves(chunk.flatten())
        elif pa.types.is_struct(kind):
            for part in chunk.flatten():
                yield from _leaves(part)
        elif pa.types.is_dictionary(kind):
            yield from _leaves(chunk.dictionary_decode())
        else:
            yield chunk


def _in_column(column: "pa.Array", traces: ListingFingerprints) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if _is_text(kind):
        words = pa.array(sorted(traces.words), kind)
        if pc.any(pc.is_in(column, words)).as_py():
            return True
        long = [word for word in traces.words if len(word) >= MIN_LETTERS]
        return any(pc.any(pc.match_substring(column, word)).as_py() for word in long)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or _is_fixed(kind):
        sought = [*(bytes.fromhex(digest) for digest in traces.digests), *traces.photos]
        return bool(set(sought) & set(column.to_pylist()))
    return False


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_fixed(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_fixed_size_binary(kind))


def _written(traces: ListingFingerprints) -> list[bytes]:
    """Give all of a listing as it stands in a file: as text, as JSON, as a photo."""
    long = {word for word in traces.words if len(word) >= MIN_LETTERS}
    written = {word.encode() for word in long} | {json.dumps(word)[1:-1].encode() for word in long}
    written |= {json.dumps(word).encode() for word in traces.words - long}
    written |= traces.photos | {base64.b64encode(photo) for photo in traces.photos}
    return sorted(written)


def _in_file(store: Lake, path: str, written: Sequence[bytes]) -> bool:
    """Tell whether a file has any of this, wherever its blocks end."""
    overlap = max(map(len, written))
    end = b""
    for block in store.blocks(path):
        data = end + block
        if any(each in data for each in written):
            return True
        end = data[-overlap:]
    return False


def _rows(lake: str, path: str, columns: Iterable[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _table(lake, path, columns).to_pylist()
    return rows


def _table(lake: str, path: str, columns: Iterable[str] | None = None) -> "pa.Table":
    import pyarrow.parquet as pq

    filesystem, root = open_root(lake)
    data = bytes(filesystem.cat_file(f"{root}/{path}"))
    return pq.read_table(io.BytesIO(data), columns=None if columns is None else list(columns))


def _version(path: str) -> str:
    at = versioned(path)
    return at.version if at else ""


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
