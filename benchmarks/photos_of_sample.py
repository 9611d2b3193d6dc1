"""Table of canonical photos of the generated sample, for benchmarks."""

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


def sample_photos(folder: Path, count: int) -> keyed_table.Table:
    """Write a number of sample photos to a table, repeated if there are fewer."""
    jpegs: list[bytes] = []
    for key, content in generate_bucket(min(300, max(60, count)), 7).files():
        if not key.endswith(".jpg") or len(jpegs) == count:
            continue
        try:
            jpegs.append(canonical.canonicalize(content))
        except canonical.PhotoError:  # the sample has damaged files
            continue
    names, repeats = [f"{number:06}" for number in range(count)], count // len(jpegs) + 1
    rows = [
        {"key": name, "image_id": name, "jpeg": jpeg, "sha256": sha256(jpeg)}
        for name, jpeg in zip(names, jpegs * repeats, strict=False)
    ]
    url = str(folder / "images.lance")
    keyed_table.ensure_table(url, PHOTOS)
    table_writer.insert(url, pa.Table.from_pylist(rows, schema=PHOTOS))
    return keyed_table.open_table(url)
