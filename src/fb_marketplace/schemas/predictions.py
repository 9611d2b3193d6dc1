"""Schemas of predictions and embeddings."""

import pandera.pandas as pa

from fb_marketplace.schemas.splits import EVALUATION_SPLITS, SPLITS


class PricePredictions(pa.DataFrameModel):
    """What each model said of the price of each listing; the interval is the chosen model's."""

    product_id: str
    group: str
    split: str = pa.Field(isin=SPLITS)
    price: float = pa.Field(gt=0)
    model: str
    answered: float = pa.Field(gt=0)
    low: float = pa.Field(gt=0, nullable=True)
    high: float = pa.Field(gt=0, nullable=True)

    class Config:
        """A model answers once."""

        unique = ("model", "product_id")
        strict = True


class CategoryPredictions(pa.DataFrameModel):
    """What each model said of the root category of each listing."""

    product_id: str
    group: str
    split: str = pa.Field(isin=SPLITS)
    category: str
    model: str
    answered: str

    class Config:
        """A model answers once."""

        unique = ("model", "product_id")
        strict = True


class CategoryTextProbabilities(pa.DataFrameModel):
    """What the text of each listing says of its root category, in the order of the sorted labels."""

    product_id: str = pa.Field(unique=True)
    split: str = pa.Field(isin=SPLITS)
    probabilities: object  # float32, (labels,), each above zero, together one

    class Config:
        """Nothing else."""

        strict = True


class VisionPredictions(pa.DataFrameModel):
    """What an encoder says of the root category of each photo that is measured on, as served."""

    image_id: str = pa.Field(unique=True)
    product_id: str
    group: str
    split: str = pa.Field(isin=EVALUATION_SPLITS)
    category: str
    probabilities: object  # float32, (labels,), in the order of the sorted labels, together one

    class Config:
        """Nothing else."""

        strict = True


class LayerEmbeddings(pa.DataFrameModel):
    """Vectors of the photos that are measured on, by other layers of the network than the one served."""

    image_id: str
    layer: str
    embedding: object  # float32, (dimension of the layer,), of unit length

    class Config:
        """A photo has one vector by each layer."""

        unique = ("image_id", "layer")
        strict = True


class ProductPredictions(pa.DataFrameModel):
    """What photos, text and both say of the root category of each listing that is measured on."""

    product_id: str = pa.Field(unique=True)
    group: str
    split: str = pa.Field(isin=EVALUATION_SPLITS)
    category: str
    photos: int = pa.Field(ge=0)
    # Each float32, (labels,), in the order of the sorted labels, together one.
    by_photos: object = pa.Field(nullable=True)  # mean over its photos; missing where it has none
    by_text: object
    probabilities: object  # of photos and text together

    class Config:
        """Nothing else."""

        strict = True
