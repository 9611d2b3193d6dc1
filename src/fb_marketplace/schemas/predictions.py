"""Schemas of predictions and embeddings."""

import pandera.pandas as pa

from fb_marketplace.schemas.splits import EVALUATION_SPLITS, SPLITS


class PricePredictions(pa.DataFrameModel):
    """Predicted price of each listing by each model. Only the selected model has intervals."""

    product_id: str
    group: str
    split: str = pa.Field(isin=SPLITS)
    price: float = pa.Field(gt=0)
    model: str
    predicted: float = pa.Field(gt=0)
    low: float = pa.Field(gt=0, nullable=True)
    high: float = pa.Field(gt=0, nullable=True)

    class Config:
        """One prediction per model and listing."""

        unique = ("model", "product_id")
        strict = True


class CategoryPredictions(pa.DataFrameModel):
    """Predicted root category of each listing by each model."""

    product_id: str
    group: str
    split: str = pa.Field(isin=SPLITS)
    category: str
    model: str
    predicted: str

    class Config:
        """One prediction per model and listing."""

        unique = ("model", "product_id")
        strict = True


class CategoryTextProbabilities(pa.DataFrameModel):
    """Root category probabilities of each listing from its text, in the order of the sorted labels."""

    product_id: str = pa.Field(unique=True)
    split: str = pa.Field(isin=SPLITS)
    probabilities: object  # float32, (labels,), above 0, sum 1

    class Config:
        """No further columns."""

        strict = True


class VisionPredictions(pa.DataFrameModel):
    """Root category probabilities of each evaluation photo from the served encoder."""

    image_id: str = pa.Field(unique=True)
    product_id: str
    group: str
    split: str = pa.Field(isin=EVALUATION_SPLITS)
    category: str
    probabilities: object  # float32, (labels,), in the order of the sorted labels, sum 1

    class Config:
        """No further columns."""

        strict = True


class ProductPredictions(pa.DataFrameModel):
    """Root category probabilities of each evaluation listing: from photos, from text, and fused."""

    product_id: str = pa.Field(unique=True)
    group: str
    split: str = pa.Field(isin=EVALUATION_SPLITS)
    category: str
    photos: int = pa.Field(ge=0)
    # Each float32, (labels,), in the order of the sorted labels, sum 1.
    by_photos: object = pa.Field(nullable=True)  # mean over the photos; missing if there are none
    by_text: object
    probabilities: object  # photos and text fused

    class Config:
        """No further columns."""

        strict = True
