"""A bucket in which each photo has a listing of its own."""

import csv
import io
from collections.abc import Mapping


def photo_bucket(photos: Mapping[str, tuple[str, bytes]]) -> dict[str, bytes]:
    """Return the objects of a bucket, by key.

    Args:
        photos: key below ``images/`` and content of each photo, by image id.
    """
    files, products, images = {}, [], []
    for number, (image_id, (key, data)) in enumerate(photos.items()):
        product = f"shop/{number}"
        listing = {"id": product, "product_name": f"Oak table {number}", "price": "£5.00"}
        listing |= {"category": "Home & Garden / Tables", "location": "Leeds, Yorkshire"}
        products.append(listing | {"product_description": f"Solid oak {number}"})
        images.append({"id": image_id, "product_id": product})
        files[f"images/{key}"] = data
    return files | {"Assets/Products.csv": _csv(products), "Assets/Images.csv": _csv(images)}


def _csv(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
