"""Listings and photos of the bucket, with their faults."""

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
    "placeholder",
]
Edit: TypeAlias = Literal["crop", "reencode", "brightness", "watermark", "mirror"]
FileFault: TypeAlias = Literal[
    "empty", "truncated", "not_an_image", "unsupported_format", "too_many_pixels"
]
RowFault: TypeAlias = Literal[
    "missing_id", "missing_product", "unknown_product", "missing_file", "no_row"
]

_FIRST_DAY = date(2022, 2, 1)
_SHORT = 25
_REF_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass
class Listing:
    """A row of Products.csv.

    Attributes:
        product: the product.
        fields: all columns but create_time.
        day: day of the listing, counted from the first day.
        fault: reason for which cleaning must reject the row; None if it must accept it.
        flag: oddity of an accepted row, such as "price_zero" or "copy".
    """

    product: Product
    fields: dict[str, str]
    day: int
    fault: Literal["missing_field", "unparsable_price"] | None = None
    flag: str | None = None

    @property
    def date(self) -> str:
        """Date of the listing, as YYYY-MM-DD."""
        return (_FIRST_DAY + timedelta(days=self.day)).isoformat()

    @property
    def spotless(self) -> bool:
        """Whether it has no fault and no flag."""
        return self.fault is None and self.flag is None


@dataclass
class Photo:
    """A photo, its row of Images.csv and its file.

    Attributes:
        id: a UUID.
        ref: the marketplace's token.
        listing: the listing of the photo.
        shows: the product in the picture; in a copied listing, the product of the original.
        slot: number of the view of that product; decides the camera.
        variant: number of the variant of its form or fault.
        form: encoding.
        source: the photo of which it is a copy, if any.
        edit: edit of the copy; None copies the bytes.
        file_fault: fault of the file.
        row_fault: fault of the row, or of the match of row and file.
        repeated: whether its row appears twice.
        taken: whether it already has a fault, form or copy; a photo gets at most one.
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
    def is_placeholder(self) -> bool:
        """Whether its file is a placeholder."""
        return (self.source or self).form == "placeholder"

    @property
    def key(self) -> str:
        """Key of its file."""
        return f"images/{self.id}.jpg"


def generate_listing(seed: int, number: int) -> Listing:
    """Return the listing with a number, without faults."""
    product = generate_product(seed, number)
    random = Random(f"{seed}/{number}/listing")
    description = product.description
    if random.random() < 0.32:
        description = description.replace(". ", ".\r", random.randint(1, 4))
    fields = {
        "id": product.id,
        "product_name": product.title,
        "category": product.category,
        "product_description": description,
        "price": product.price,
        "location": product.location,
    }
    return Listing(product, fields, day=random.randint(0, 60))


def generate_listings(seed: int, products: int) -> list[Listing]:
    """Return the first listings, no two with the same text."""
    listings: list[Listing] = []
    seen: set[tuple[str, str]] = set()
    for number in range(products):
        listing = generate_listing(seed, number)
        title = listing.product.title.partition(" | ")[0].lower()
        text = listing.fields["product_description"]
        # Longer texts are compared without titles: one description makes one group of a split.
        if ("" if len(text) > _SHORT else title, text.lower()) in seen:
            text = f"{text} My reference {number}."
            listing.fields["product_description"] = text
        seen.add(("" if len(text) > _SHORT else title, text.lower()))
        listings.append(listing)
    return listings


def generate_photo(seed: int, listing: Listing, slot: int) -> Photo:
    """Return a photo of a listing's product, as a JPEG or already letterboxed to 256 × 256."""
    random = Random(f"{seed}/{listing.product.number}/photo/{slot}")
    identifier = uuid_from(random)
    ref = "".join(random.choice(_REF_LETTERS) for _ in range(16))
    form: Form = "letterboxed" if random.random() < 0.34 else "jpeg"
    return Photo(identifier, ref, listing, listing.product, slot, form=form)
