"""Response models of the prediction routes."""

from pydantic import BaseModel, Field

from fb_marketplace_serving.server.schemas.common import OAK_BOOKCASE, ListingSummary, with_example


class Prediction(BaseModel):
    """The category of a photo."""

    model_config = with_example(
        category="Home & Garden",
        confidence=0.81,
        not_sure=False,
        probabilities={"Home & Garden": 0.81, "Office Furniture & Equipment": 0.19},
    )

    category: str = Field(description="the most probable category")
    confidence: float = Field(description="its probability, calibrated")
    not_sure: bool = Field(
        description="true where the confidence is too low for the category to be answered"
    )
    probabilities: dict[str, float] = Field(description="of every category; they sum to one")


class FeatureEmbedding(BaseModel):
    """The embedding of a photo."""

    model_config = with_example(embedding=[0.6, -0.8])

    embedding: list[float] = Field(description="a vector of length one")


class Hit(ListingSummary):
    """A photo like the one that was sent, and its listing."""

    image_id: str
    score: float = Field(description="cosine similarity, 1 for the same photo")


class SimilarImages(BaseModel):
    """The photos most like the one that was sent, most alike first."""

    model_config = with_example(hits=[OAK_BOOKCASE | {"image_id": "0a1b2c3d", "score": 0.93}])

    hits: list[Hit]
