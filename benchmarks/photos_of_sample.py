"""Canonical photos of the embedded sample in a table, for benchmarks that need some."""

from pathlib import Path

import pyarrow as pa

from fb_marketplace import tables
from fb_marketplace.digests import sha256
from fb_marketplace.sample.lake import draw_lake
from fb_marketplace_serving import photos

PHOTOS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("image_id", pa.string()),
        ("jpeg", pa.large_binary()),
        ("sha256", pa.string()),
    ]
)


def sample_photos(folder: Path, count: int) -> tables.Table:
    """Draw listings, and write so many of their photos, repeated if there are fewer, to a table."""
    read: list[bytes] = []
    for key, content in draw_lake(min(300, max(60, count)), 7).files():
        if not key.endswith(".jpg") or len(read) == count:
            continue
        try:
            read.append(photos.canonical(content))
        except photos.PhotoError:  # the sample has damaged files on purpose
            continue
    names, again = [f"{place:06}" for place in range(count)], count // len(read) + 1
    rows = [
        {"key": name, "image_id": name, "jpeg": jpeg, "sha256": sha256(jpeg)}
        for name, jpeg in zip(names, read * again, strict=False)
    ]
    url = str(folder / "images.lance")
    tables.ensure(url, PHOTOS)
    tables.insert(url, pa.Table.from_pylist(rows, schema=PHOTOS))
    return tables.open_table(url)
