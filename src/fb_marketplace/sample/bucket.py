"""The embedded marketplace: a bucket drawn from a seed, so that everything runs from the clone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

LEAST_PRODUCTS = 60


@dataclass(frozen=True)
class SampleLake:
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
            with_repeats,
        )
        from fb_marketplace.sample.faults.listings import soil_listings
        from fb_marketplace.sample.faults.photos import draw_photos, soil_photos
        from fb_marketplace.sample.ground_truth import ground_truth
        from fb_marketplace.sample.photo_files import content
        from fb_marketplace.sample.records import draw_listings

        random = Random(f"{self.seed}/{self.products}/dirt")
        listings = draw_listings(self.seed, self.products)
        soil_listings(listings, random)
        photos = draw_photos(self.seed, listings, random)
        orphans = soil_photos(self.seed, photos, random)
        product_records = with_repeats(listings, lambda one: one.flag == "repeated_row", random)
        image_records = with_repeats(photos, lambda one: one.repeated, random)

        yield (
            "Assets/Products.csv",
            csv_table(PRODUCT_COLUMNS, map(product_row, product_records), random),
        )
        yield "Assets/Images.csv", csv_table(IMAGE_COLUMNS, map(image_row, image_records), random)
        for photo in (*photos, *orphans):
            if photo.row_fault != "missing_file":
                yield photo.key, content(self.seed, photo)
        truth = {
            "seed": self.seed,
            "products": self.products,
            **ground_truth(product_records, image_records, orphans),
        }
        text = json.dumps(truth, indent=1, sort_keys=True, ensure_ascii=False)
        yield "ground_truth.json", f"{text}\n".encode()


def draw_lake(products: int, seed: int) -> SampleLake:
    """A marketplace of so many listings.

    Args:
        products: how many, at least `LEAST_PRODUCTS`: fewer have no room for every kind of fault.
        seed: a whole number, 0 or more.

    Returns:
        The lake; nothing is drawn before its files are asked for.

    Raises:
        ValueError: too few products, or a negative seed.
    """
    if products < LEAST_PRODUCTS:
        message = (
            f"A sample of {products} products is too small: "
            f"every kind of fault needs at least {LEAST_PRODUCTS}."
        )
        raise ValueError(message)
    if seed < 0:
        message = f"The sample's seed is {seed}: give a whole number, 0 or more."
        raise ValueError(message)
    return SampleLake(seed=seed, products=products)
