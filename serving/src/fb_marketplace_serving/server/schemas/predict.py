"""Response models of the prediction routes."""

from pydantic import BaseModel, Field

from fb_marketplace_serving.server.schemas.common import OAK_BOOKCASE, ListingSummary, with_example


class Prediction(BaseModel):
    """Predicted category of a photo."""

    model_config = with_example(
        category="Home & Garden",
        confidence=0.81,
        abstained=False,
        probabilities={"Home & Garden": 0.81, "Office Furniture & Equipment": 0.19},
    )

    category: str | None = Field(
        description="Most probable category; null if the release has no classifier."
    )
    confidence: float | None = Field(description="Its calibrated probability.")
    abstained: bool = Field(
        description="True if the confidence is at or below the release's abstention threshold."
    )
    probabilities: dict[str, float] = Field(description="Probability of each category.")


class FeatureEmbedding(BaseModel):
    """Embedding of a photo."""

    model_config = with_example(embedding=[0.6, -0.8])

    embedding: list[float] = Field(description="Unit vector.")


class Hit(ListingSummary):
    """A similar photo and its listing."""

    image_id: str
    score: float = Field(description="Cosine similarity.")


class SimilarImages(BaseModel):
    """Photos by descending similarity."""

    model_config = with_example(hits=[OAK_BOOKCASE | {"image_id": "0a1b2c3d", "score": 0.93}])

    hits: list[Hit]
