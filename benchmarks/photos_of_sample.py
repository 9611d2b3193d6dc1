"""Canonical photos of the embedded sample in a table, for benchmarks that need some."""

from pathlib import Path

import pyarrow as pa

from fb_marketplace.sample.bucket import generate_bucket
from fb_marketplace.storage import keyed_table
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace_serving.imaging import canonical

PHOTOS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("image_id", pa.string()),
        ("jpeg", pa.large_binary()),
        ("sha256", pa.string()),
    ]
)


def sample_photos(folder: Path, count: int) -> keyed_table.Table:
    """Draw listings, and write so many of their photos, repeated if there are fewer, to a table."""
    read: list[bytes] = []
    for key, content in generate_bucket(min(300, max(60, count)), 7).files():
        if not key.endswith(".jpg") or len(read) == count:
            continue
        try:
            read.append(canonical.canonicalize(content))
        except canonical.PhotoError:  # the sample has damaged files on purpose
            continue
    names, again = [f"{place:06}" for place in range(count)], count // len(read) + 1
    rows = [
        {"key": name, "image_id": name, "jpeg": jpeg, "sha256": sha256(jpeg)}
        for name, jpeg in zip(names, read * again, strict=False)
    ]
    url = str(folder / "images.lance")
    keyed_table.ensure_table(url, PHOTOS)
    keyed_table.insert(url, pa.Table.from_pylist(rows, schema=PHOTOS))
    return keyed_table.open_table(url)
