"""What the API answers with."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue


def _with_example(**example: Any) -> ConfigDict:
    return ConfigDict(frozen=True, json_schema_extra={"example": example})


class Health(BaseModel):
    """The server is up and has a release."""

    model_config = _with_example(status="ok", release="2026-03-01T12.00.00.000Z")

    status: str
    release: str


class Prediction(BaseModel):
    """The category of a photo."""

    model_config = _with_example(
        category="Home & Garden",
        confidence=0.81,
        probabilities={"Home & Garden": 0.81, "Office Furniture & Equipment": 0.19},
    )

    category: str = Field(description="the most probable category")
    confidence: float = Field(description="its probability")
    probabilities: dict[str, float] = Field(description="of every category; they sum to one")


class FeatureEmbedding(BaseModel):
    """The embedding of a photo."""

    model_config = _with_example(embedding=[0.6, -0.8])

    embedding: list[float] = Field(description="a vector of length one")


class Hit(BaseModel):
    """A photo like the one that was sent, and its listing."""

    model_config = ConfigDict(frozen=True)

    image_id: str
    product_id: str
    title: str
    price: float | None = Field(
        description="as listed, in units of the currency; null where there is none"
    )
    currency: str = Field(description="of the price, ISO 4217")
    category: str
    score: float = Field(description="cosine similarity, 1 for the same photo")


class SimilarImages(BaseModel):
    """The photos most like the one that was sent, most alike first."""

    model_config = _with_example(
        hits=[
            {
                "image_id": "0a1b2c3d",
                "product_id": "4e5f6a7b",
                "title": "Oak bookcase",
                "price": 45.0,
                "currency": "GBP",
                "category": "Home & Garden",
                "score": 0.93,
            }
        ]
    )

    hits: list[Hit]


class ReleaseSummary(BaseModel):
    """What is served."""

    model_config = ConfigDict(frozen=True)

    version: str
    created: str
    code_revision: str
    data_digest: str
    labels: tuple[str, ...]
    photos_version: int
    embedding_dimension: int
    counts: dict[str, int]
    metrics: dict[str, JsonValue]


class Problem(BaseModel):
    """Why a request was turned away (RFC 9457)."""

    model_config = _with_example(
        type="urn:fb-marketplace:problem:truncated",
        title="Unprocessable Content",
        status=422,
        detail="truncated: the JPEG ends early: image file is truncated",
    )

    type: Annotated[str, Field(description="which problem, for programs")]
    title: str
    status: int
    detail: Annotated[str, Field(description="what was found and expected, for people")]
