"""Response models of several routes."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


def with_example(**example: Any) -> ConfigDict:
    """Return the configuration of a response model with an example for OpenAPI."""
    return ConfigDict(frozen=True, json_schema_extra={"example": example})


class Health(BaseModel):
    """Status of the server."""

    model_config = with_example(status="ok", release="2026-03-01T12.00.00.000Z")

    status: str
    release: str


class RejectedRelease(BaseModel):
    """The lake's current release, which the server could not open."""

    version: str | None = Field(description="Null if the pointer could not be read.")
    reason: str


class Readiness(BaseModel):
    """Readiness of the server."""

    model_config = with_example(
        status="ready",
        release="2026-03-01T12.00.00.000Z",
        pointer_age_seconds=2.5,
        rejected=None,
    )

    status: str
    release: str
    pointer_age_seconds: float | None = Field(
        description="Time since the lake's current release was looked up; null if it is not followed."
    )
    rejected: RejectedRelease | None = Field(
        description="Null if the server serves the lake's current release."
    )


class ListingSummary(BaseModel):
    """A listing."""

    model_config = ConfigDict(frozen=True)

    product_id: str
    title: str
    price: float | None = Field(description="Price in units of the currency; null if unknown.")
    currency: str = Field(description="ISO 4217 code.")
    category: str = Field(description="Root category.")
    category_path: str = Field(description="Full category path.")
    town: str | None = Field(description="Town; null if unknown.")
    county: str | None = Field(description="County; null if unknown.")
    price_flag: Literal["missing", "zero", "joke", "absurd"] | None = Field(
        description="Why the price is implausible; null if it is plausible. Joke and absurd prices are "
        "sorted last, and are not in price facets."
    )
    created_at: datetime | None = Field(description="When it was listed, in UTC; null if unknown.")


OAK_BOOKCASE: Final[dict[str, Any]] = {
    "product_id": "4e5f6a7b",
    "title": "Oak bookcase",
    "price": 45.0,
    "currency": "GBP",
    "category": "Home & Garden",
    "category_path": "Home & Garden / Storage",
    "town": "Leeds",
    "county": "West Yorkshire",
    "price_flag": None,
    "created_at": "2026-02-26T10:15:00Z",
}


class ReleaseSummary(BaseModel):
    """The current release."""

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
        has_dates=True,
        lacks={},
        counts={"photos": 12604, "products": 7156},
        metrics={"vision": {"test": {"top1": 0.6}}},
    )

    version: str
    created: str
    code_revision: str
    data_digest: str
    labels: tuple[str, ...] = Field(description="Classes of the image classifier.")
    categories: tuple[str, ...] = Field(description="Root categories of the listings.")
    photos_version: int
    embedding_dimension: int
    searchable: bool = Field(description="Whether the release supports /search.")
    has_dates: bool = Field(description="Whether the release supports sort=newest.")
    lacks: dict[str, str] = Field(
        description="Parts that the release lacks, such as `photo_search`, each with the reason."
    )
    counts: dict[str, int]
    metrics: dict[str, JsonValue]


class ProblemDetails(BaseModel):
    """Why a request failed (RFC 9457)."""

    model_config = with_example(
        type="urn:fb-marketplace:problem:truncated",
        title="Truncated",
        status=422,
        detail="the JPEG ends early: image file is truncated (3 bytes not processed)",
    )

    type: Annotated[str, Field(description="Problem type, for programs.")]
    title: str
    status: int
    detail: Annotated[str, Field(description="Problem, expectation and remedy, for people.")]
