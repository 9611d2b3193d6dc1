"""Generated bucket, so that the project runs without real data."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from random import Random

from fb_marketplace.compute.shards import map_shards

MIN_PRODUCTS = 60
_BATCH = 16
_FEW_BATCHES = 12


@dataclass(frozen=True)
class SampleBucket:
    """A generated marketplace in the layout of the raw data.

    Attributes:
        seed: the same seed and size give the same bytes.
        products: number of listings, without repeated rows.
    """

    seed: int
    products: int

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the files, with at most a few batches of photos in memory.

        Yields:
            Key and content of each file: the two tables, the photos, and last `ground_truth.json`,
            which lists all planted faults.
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
        from fb_marketplace.sample.photo_files import render_photo_files
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
        stored = [photo for photo in (*photos, *orphans) if photo.row_fault != "missing_file"]
        batches = [stored[start : start + _BATCH] for start in range(0, len(stored), _BATCH)]
        # A few photos are rendered sooner than processes start.
        max_workers = 0 if len(batches) > _FEW_BATCHES else 1
        render = partial(render_photo_files, self.seed)
        for files in map_shards(render, batches, max_workers=max_workers):
            yield from files
        truth = {
            "seed": self.seed,
            "products": self.products,
            **ground_truth(product_records, image_records, orphans),
        }
        text = json.dumps(truth, indent=1, sort_keys=True, ensure_ascii=False)
        yield "ground_truth.json", f"{text}\n".encode()


def generate_bucket(products: int, seed: int) -> SampleBucket:
    """Return a generated marketplace; `SampleBucket.files` generates its content.

    Args:
        products: number of listings, at least `MIN_PRODUCTS` to fit every kind of fault.
        seed: an integer, 0 or more.

    Raises:
        ValueError: too few products, or a negative seed.
    """
    if products < MIN_PRODUCTS:
        raise ValueError(f"the sample has {products} products; it needs at least {MIN_PRODUCTS}")
    if seed < 0:
        raise ValueError(f"the sample's seed is {seed}; expected an integer, 0 or more")
    return SampleBucket(seed=seed, products=products)
