"""The two CSV tables of the bucket."""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TypeVar

from fb_marketplace.sample.products import uuid_from
from fb_marketplace.sample.records import Listing, Photo

_FIELDS = ("id", "product_name", "category", "product_description", "price", "location")
PRODUCT_COLUMNS = (*_FIELDS, "create_time")
IMAGE_COLUMNS = ("id", "product_id", "bucket_link", "image_ref", "create_time")
_BUCKET = "https://bucket.example/images"

Record = TypeVar("Record", Listing, Photo)


def product_row(listing: Listing) -> tuple[str, ...]:
    """Return a listing's values in the order of `PRODUCT_COLUMNS`."""
    return *(listing.fields[column] for column in _FIELDS), listing.date


def image_row(photo: Photo) -> tuple[str, ...]:
    """Return a photo's values in the order of `IMAGE_COLUMNS`, with the fault of its row."""
    identifier = "" if photo.row_fault == "missing_id" else photo.id
    product = photo.listing.product.id
    if photo.row_fault == "missing_product":
        product = ""
    elif photo.row_fault == "unknown_product":
        product = uuid_from(Random(f"{photo.id}/unknown"))
    return identifier, product, f"{_BUCKET}/{identifier}.jpg", photo.ref, photo.listing.date


def repeat_rows(
    records: Sequence[Record], repeats: Callable[[Record], bool], random: Random
) -> list[Record]:
    """Return the records in order, with a second copy of each repeated one at some distance."""
    placed = list(records)
    for record in records:
        if repeats(record):
            first = placed.index(record)
            positions = [i for i in range(len(placed) + 1) if not first - 3 < i < first + 4]
            placed.insert(random.choice(positions), record)
    return placed


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[str]], random: Random) -> bytes:
    """Return a table as UTF-8 CSV. Its first column is an unnamed running number with gaps.

    A field is quoted only if it has a comma, a quote or a line feed. A bare carriage return stays
    unquoted, as in the raw table.
    """
    lines = [",".join(("", *columns))]
    number = 0
    for row in rows:
        lines.append(",".join((str(number), *map(_field, row))))
        number += 1 if random.random() < 0.85 else random.randint(2, 6)
    return ("\n".join(lines) + "\n").encode()


def _field(text: str) -> str:
    if any(mark in text for mark in ',"\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
