"""The bucket's records before they are written: listings, photos, what is wrong with each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Literal, TypeAlias

from fb_marketplace.sample.products import Product, generate_product, uuid_from

Form: TypeAlias = Literal[
    "jpeg",
    "letterboxed",
    "png",
    "alpha",
    "greyscale",
    "cmyk",
    "palette",
    "exif_turned",
    "twelve_megapixel",
]
Edit: TypeAlias = Literal["crop", "reencode", "brightness", "watermark", "mirror"]
FileFault: TypeAlias = Literal[
    "empty", "truncated", "not_an_image", "unsupported_format", "too_many_pixels"
]
RowFault: TypeAlias = Literal[
    "missing_id", "missing_product", "unknown_product", "missing_file", "no_row"
]

_FIRST_DAY = date(2022, 2, 1)
_REF_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass
class Listing:
    """A row of Products.csv in the making.

    Attributes:
        product: the facts it tells of.
        fields: id, product_name, category, product_description, price and location.
        day: when it was put up, counted from the first day.
        fault: why its row will be turned away, if it will.
        flag: what is odd about it that is kept: "price_zero", "copy" and the like.
    """

    product: Product
    fields: dict[str, str]
    day: int
    fault: Literal["missing_field", "unparsable_price"] | None = None
    flag: str | None = None

    @property
    def spotless(self) -> bool:
        """Whether nothing has been done to it yet."""
        return self.fault is None and self.flag is None


@dataclass
class Photo:
    """A photo, its row of Images.csv and its file.

    Attributes:
        id: a UUID.
        ref: the marketplace's token for it.
        listing: the listing that it stands under.
        shows: the product in the picture; not the listing's own in a copied listing.
        slot: which of that product's views it is.
        variant: which of several ways its form or fault takes, counted up.
        form: how the seller's phone or site wrote it.
        source: the photo that it copies, if it copies one.
        edit: what was done to the copy; None leaves the very bytes.
        file_fault: what is wrong with the file.
        row_fault: what is wrong with the row, or between row and file.
        repeated: whether its row stands twice.
        taken: whether it already plays a part, so that no two faults meet.
    """

    id: str
    ref: str
    listing: Listing
    shows: Product
    slot: int
    variant: int = 0
    form: Form = "jpeg"
    source: Photo | None = None
    edit: Edit | None = None
    file_fault: FileFault | None = None
    row_fault: RowFault | None = None
    repeated: bool = False
    taken: bool = False

    @property
    def key(self) -> str:
        """Where its file lies under the bucket's root."""
        return f"images/{self.id}.jpg"

    @property
    def day(self) -> str:
        """When it was uploaded, as YYYY-MM-DD."""
        return (_FIRST_DAY + timedelta(days=self.listing.day)).isoformat()


def generate_listing(seed: int, number: int) -> Listing:
    """The listing of a number, as its seller wrote it, nothing wrong with it."""
    product = generate_product(seed, number)
    random = Random(f"{seed}/{number}/listing")
    description = product.description
    if random.random() < 0.32:
        description = description.replace(". ", ".\r", random.randint(1, 4))
    fields = {
        "id": product.id,
        "product_name": product.title,
        "category": product.leaf.path,
        "product_description": description,
        "price": product.price,
        "location": product.location,
    }
    return Listing(product, fields, day=random.randint(0, 60))


def generate_listings(seed: int, products: int) -> list[Listing]:
    """The first so many listings, no two with the same description."""
    listings: list[Listing] = []
    seen: set[str] = set()
    for number in range(products):
        listing = generate_listing(seed, number)
        text = listing.fields["product_description"]
        if text in seen:
            text = f"{text} My reference {number}."
            listing.fields["product_description"] = text
        seen.add(text)
        listings.append(listing)
    return listings


def generate_photo(seed: int, listing: Listing, slot: int) -> Photo:
    """The photo in a slot of a listing: of its product, as a JPEG or already made 256 × 256."""
    random = Random(f"{seed}/{listing.product.number}/photo/{slot}")
    identifier = uuid_from(random)
    ref = "".join(random.choice(_REF_LETTERS) for _ in range(16))
    form: Form = "letterboxed" if random.random() < 0.34 else "jpeg"
    return Photo(identifier, ref, listing, listing.product, slot, form=form)
