"""Photos of the generated sample, for benchmarks: as files, and as a table of canonical photos."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from fb_marketplace.sample.bucket import generate_bucket
from fb_marketplace.storage import keyed_table, table_writer
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


def uploads(count: int, num_listings: int = 200) -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of the sample's undamaged photos.

    Args:
        count: maximum number of photos.
        num_listings: size of the sample.
    """
    files = generate_bucket(num_listings, 7).files()
    photos = (file for file in files if file[0].endswith(".jpg") and is_photo(file[1]))
    for key, content in itertools.islice(photos, count):
        yield Path(key).name, content


def is_photo(content: bytes) -> bool:
    """Check whether a file can be read; the sample has damaged ones."""
    try:
        canonical.canonicalize(content)
    except canonical.PhotoError:
        return False
    return True


def sample_photos(folder: Path, count: int) -> keyed_table.Table:
    """Write a number of sample photos to a table, repeated if there are fewer."""
    files = uploads(count, num_listings=min(300, max(60, count)))
    jpegs = [canonical.canonicalize(content) for _, content in files]
    names, repeats = [f"{number:06}" for number in range(count)], count // len(jpegs) + 1
    rows = [
        {"key": name, "image_id": name, "jpeg": jpeg, "sha256": sha256(jpeg)}
        for name, jpeg in zip(names, jpegs * repeats, strict=False)
    ]
    url = str(folder / "images.lance")
    keyed_table.ensure_table(url, PHOTOS)
    table_writer.insert(url, pa.Table.from_pylist(rows, schema=PHOTOS))
    return keyed_table.open_table(url)
