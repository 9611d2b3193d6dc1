"""Response models of listings: ``/products`` and ``/similar_listings``."""

from enum import IntEnum
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from fb_marketplace_serving.server.schemas.common import OAK_BOOKCASE, ListingSummary, with_example

OAK_BOOKCASE_PRICE: Final[dict[str, Any]] = {
    "typical_price": {"low": 35.0, "high": 80.0, "comparables": ["5f6a7b8c"]},
    "notes": [
        {
            "kind": "photo_elsewhere",
            "text": "A photo of this listing is also in “Oak shelves” (York, £60).",
            "products": ["6a7b8c9d"],
        }
    ],
}


class PhotoSize(IntEnum):
    """Maximum width and height of a photo, in pixels."""

    CANONICAL = 256
    DISPLAY = 1024


class PriceRange(BaseModel):
    """Typical price of comparable listings."""

    low: float
    high: float
    comparables: list[str] = Field(description="Ids of some comparable listings.")


class PriceInsight(BaseModel):
    """A note on the price or the photo of a listing, with its evidence."""

    kind: Literal["unusual_price", "photo_elsewhere"]
    text: str = Field(description="The note, in a sentence.")
    products: list[str] = Field(description="Ids of the listings that it is based on.")


class ProductPhoto(BaseModel):
    """A photo of a listing. Properties of the upload are null if the release lacks provenance."""

    image_id: str = Field(description="Id for /images/{image_id}.")
    sizes: list[PhotoSize] = Field(description="Sizes that the release has.")
    format: str | None = Field(description="Format of the upload.")
    width: int | None = Field(description="Width of the upload, in pixels.")
    height: int | None = Field(description="Height of the upload, in pixels.")
    copies: int | None = Field(description="Number of other photos of the same picture.")


class Provenance(BaseModel):
    """Source of a listing, and what cleaning decided about it."""

    row: int = Field(description="Number of its row in the raw table, from 0.")
    repeats: int = Field(description="Number of identical rows that were merged into it.")
    group_listings: int = Field(
        description="Number of listings that are linked to it by photos or descriptions, with itself."
    )
    split: str = Field(description="`train`, `validation` or `test`.")


class Product(ListingSummary):
    """A listing in full."""

    model_config = with_example(
        **OAK_BOOKCASE,
        **OAK_BOOKCASE_PRICE,
        description="Solid oak, four shelves. Collection only.",
        image_ids=["0a1b2c3d"],
        photos=[
            {
                "image_id": "0a1b2c3d",
                "sizes": [256, 1024],
                "format": "JPEG",
                "width": 4032,
                "height": 3024,
                "copies": 0,
            }
        ],
        duplicates=["7b8c9d0e"],
        provenance={"row": 30, "repeats": 0, "group_listings": 3, "split": "train"},
    )

    description: str = Field(description="At most 4,000 characters.")
    image_ids: list[str] = Field(description="Ids of its photos.")
    photos: list[ProductPhoto]
    typical_price: PriceRange | None = Field(description="Null if too few listings compare.")
    notes: list[PriceInsight]
    duplicates: list[str] = Field(description="Ids of the other listings of the same item.")
    provenance: Provenance | None = Field(description="Null if the release was built without it.")


class SimilarListing(ListingSummary):
    """A similar listing."""

    image_id: str | None = Field(description="Its most similar photo; null if none.")


class SimilarListings(BaseModel):
    """Similar listings, most similar first."""

    model_config = with_example(
        release="2026-03-01T12.00.00.000Z", listings=[OAK_BOOKCASE | {"image_id": "0a1b2c3d"}]
    )

    release: str
    listings: list[SimilarListing]
