"""The embedded marketplace: a bucket drawn from a seed, so that everything runs from the clone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

MIN_PRODUCTS = 60


@dataclass(frozen=True)
class SampleBucket:
    """A marketplace in the bucket's layout.

    Attributes:
        seed: what it is drawn from; the same seed and size give the same bytes.
        products: how many listings it has, repeated rows not counted.
    """

    seed: int
    products: int

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Draws the files one by one, holding no more than one photo at a time.

        Yields:
            A key under the bucket's root and its content: the two tables, the photos, and last
            `ground_truth.json`, which lists every fault that was planted.
        """
        from fb_marketplace.sample.csv_tables import (
            IMAGE_COLUMNS,
            PRODUCT_COLUMNS,
            csv_table,
            image_row,
            product_row,
            repeat_rows,
        )
        from fb_marketplace.sample.faults.listings import inject_listing_faults
        from fb_marketplace.sample.faults.photos import generate_photos, inject_photo_faults
        from fb_marketplace.sample.ground_truth import ground_truth
        from fb_marketplace.sample.photo_files import render_photo_file
        from fb_marketplace.sample.records import generate_listings

        random = Random(f"{self.seed}/{self.products}/dirt")
        listings = generate_listings(self.seed, self.products)
        inject_listing_faults(listings, random)
        photos = generate_photos(self.seed, listings, random)
        orphans = inject_photo_faults(self.seed, photos, random)
        product_records = repeat_rows(listings, lambda one: one.flag == "repeated_row", random)
        image_records = repeat_rows(photos, lambda one: one.repeated, random)

        yield (
            "Assets/Products.csv",
            csv_table(PRODUCT_COLUMNS, map(product_row, product_records), random),
        )
        yield "Assets/Images.csv", csv_table(IMAGE_COLUMNS, map(image_row, image_records), random)
        for photo in (*photos, *orphans):
            if photo.row_fault != "missing_file":
                yield photo.key, render_photo_file(self.seed, photo)
        truth = {
            "seed": self.seed,
            "products": self.products,
            **ground_truth(product_records, image_records, orphans),
        }
        text = json.dumps(truth, indent=1, sort_keys=True, ensure_ascii=False)
        yield "ground_truth.json", f"{text}\n".encode()


def generate_bucket(products: int, seed: int) -> SampleBucket:
    """A marketplace of so many listings.

    Args:
        products: how many, at least `MIN_PRODUCTS`: fewer have no room for every kind of fault.
        seed: a whole number, 0 or more.

    Returns:
        The lake; nothing is drawn before its files are asked for.

    Raises:
        ValueError: too few products, or a negative seed.
    """
    if products < MIN_PRODUCTS:
        message = (
            f"A sample of {products} products is too small: "
            f"every kind of fault needs at least {MIN_PRODUCTS}."
        )
        raise ValueError(message)
    if seed < 0:
        message = f"The sample's seed is {seed}: give a whole number, 0 or more."
        raise ValueError(message)
    return SampleBucket(seed=seed, products=products)
