"""What the API answers with."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue


def with_example(**example: Any) -> ConfigDict:
    """Configure a model of an answer, with an example of it for OpenAPI."""
    return ConfigDict(frozen=True, json_schema_extra={"example": example})


class Health(BaseModel):
    """The server is up and has a release."""

    model_config = with_example(status="ok", release="2026-03-01T12.00.00.000Z")

    status: str
    release: str


class RejectedRelease(BaseModel):
    """What is in force in the lake, and why it is not served."""

    model_config = ConfigDict(frozen=True)

    version: str | None = Field(description="null where not even that could be read")
    why: str


class Readiness(BaseModel):
    """The server takes requests."""

    model_config = with_example(status="ready", release="2026-03-01T12.00.00.000Z", refused=None)

    status: str
    release: str
    refused: RejectedRelease | None = Field(
        description="null where what is served is what is in force in the lake"
    )


class ListingSummary(BaseModel):
    """What is shown of a listing."""

    model_config = ConfigDict(frozen=True)

    product_id: str
    title: str
    price: float | None = Field(
        description="as listed, in units of the currency; null where there is none"
    )
    currency: str = Field(description="of the price, ISO 4217")
    category: str = Field(description="the root category")
    category_path: str = Field(description="the whole path, as in the bucket")
    town: str | None = Field(description="where it is offered, if known")
    county: str | None = Field(description="where it is offered, if known")


OAK_BOOKCASE: Final[dict[str, Any]] = {
    "product_id": "4e5f6a7b",
    "title": "Oak bookcase",
    "price": 45.0,
    "currency": "GBP",
    "category": "Home & Garden",
    "category_path": "Home & Garden / Storage",
    "town": "Leeds",
    "county": "West Yorkshire",
}


class Product(ListingSummary):
    """A listing, and its photos."""

    model_config = with_example(**OAK_BOOKCASE, image_ids=["0a1b2c3d"])

    image_ids: list[str] = Field(description="see /images/{image_id}")


class ReleaseSummary(BaseModel):
    """What is served."""

    model_config = with_example(
        version="2026-03-01T12.00.00.000Z",
        created="2026-03-01T12:00:00+00:00",
        code_revision="a874d94",
        data_digest="9f86d081884c7d65",
        labels=["Home & Garden", "Office Furniture & Equipment"],
        categories=["Home & Garden", "Office Furniture & Equipment"],
        photos_version=1,
        embedding_dimension=256,
        searchable=True,
        counts={"photos": 12604, "products": 7156},
        metrics={"vision": {"test": {"top1": 0.6}}},
    )

    version: str
    created: str
    code_revision: str
    data_digest: str
    labels: tuple[str, ...] = Field(description="categories that a photo may be told to be of")
    categories: tuple[str, ...] = Field(
        description="root categories of the listings: what may be filtered by"
    )
    photos_version: int
    embedding_dimension: int
    searchable: bool = Field(description="by words too, at /search, and not only by a photo")
    counts: dict[str, int]
    metrics: dict[str, JsonValue]


class ProblemDetails(BaseModel):
    """Why a request was turned away (RFC 9457)."""

    model_config = with_example(
        type="urn:fb-marketplace:problem:truncated",
        title="Truncated",
        status=422,
        detail="the JPEG ends early: image file is truncated (3 bytes not processed)",
    )

    type: Annotated[str, Field(description="which problem, for programs")]
    title: str
    status: int
    detail: Annotated[str, Field(description="what was found and expected, for people")]
