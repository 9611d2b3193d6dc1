"""Raw buckets of small and odd markets: a few listings, or a market without photos, prices or words."""

import csv
import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLUMNS = ("id", "product_name", "category", "product_description", "price", "location")
PATHS = (
    "Home & Garden / Tables / Oak",
    "Computers / Laptops / Small",
    "Sports / Bikes / Road",
    "Music / Guitars / Acoustic",
)
NOUNS = (
    ("oak table", "pine shelf", "garden chair"),
    ("laptop", "monitor", "keyboard"),
    ("road bike", "helmet", "pump"),
    ("guitar", "amp", "drum"),
)
TOWNS = ("Leeds, West Yorkshire", "Hull, East Yorkshire", "Bristol", "Woking, Surrey")

Row = Mapping[str, str]


def listings(count: int, **same: str) -> list[dict[str, str]]:
    """Draw listings of four categories in turn; named columns have the same value in all."""
    drawn = random.Random(1)
    return [
        {
            "id": f"p{number:04}",
            "product_name": f"Used {NOUNS[number % 4][number // 4 % 3]} number {number}",
            "category": PATHS[number % 4],
            "product_description": f"Kept {drawn.randrange(2, 30)} months, collect from shop {number}",
            "price": f"£{drawn.randrange(5, 900)}.00",
            "location": TOWNS[number % 4],
        }
        | same
        for number in range(count)
    ]


def write_market(
    raw: Path,
    rows: Sequence[Row],
    photos_per_listing: int = 2,
    columns: Sequence[str] = COLUMNS,
    photos: Mapping[str, int] | None = None,
) -> None:
    """Write a bucket.

    Args:
        raw: its root.
        rows: the listings.
        photos_per_listing: number of photos of each listing.
        columns: columns of the table of listings.
        photos: numbers of photos by listing, where they differ.
    """
    images = [
        {"id": f"{row['id']}-{number}", "product_id": row["id"]}
        for row in rows
        for number in range((photos or {}).get(row["id"], photos_per_listing))
    ]
    (raw / "Assets").mkdir(parents=True)
    (raw / "images").mkdir()
    (raw / "Assets/Products.csv").write_bytes(_csv(rows, columns))
    (raw / "Assets/Images.csv").write_bytes(_csv(images, ("id", "product_id")))
    for seed, image in enumerate(images):
        (raw / "images" / f"{image['id']}.jpg").write_bytes(jpeg(seed))


def jpeg(seed: int) -> bytes:
    """Draw a photo that resembles no other."""
    drawn = np.random.default_rng(seed)
    pixels = drawn.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((160, 120), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return buffer.getvalue()


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()
