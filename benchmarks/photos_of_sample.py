"""Canonical photos of the embedded sample in a table, for benchmarks that need some."""

from pathlib import Path

import pyarrow as pa

from fb_marketplace import tables
from fb_marketplace.sample.lake import draw_lake
from fb_marketplace_serving import photos

PHOTOS = pa.schema([("key", pa.string()), ("image_id", pa.string()), ("jpeg", pa.large_binary())])


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
    rows = [
        {"key": f"{place:06}", "image_id": f"{place:06}", "jpeg": read[place % len(read)]}
        for place in range(count)
    ]
    url = str(folder / "images.lance")
    tables.ensure(url, PHOTOS)
    tables.insert(url, pa.Table.from_pylist(rows, schema=PHOTOS))
    return tables.open_table(url)
