"""Schemas of retrieval and ranking results, and of feedback."""

import pandera.pandas as pa


class RetrievalHits(pa.DataFrameModel):
    """Top hits of each test photo in the served index."""

    image_id: str
    rank: int = pa.Field(ge=1, le=10)
    hit: str
    similarity: float  # cosine
    grade: int = pa.Field(ge=0, le=3)

    class Config:
        """One hit per photo and rank."""

        unique = ("image_id", "rank")
        strict = True


class RetrievalQueries(pa.DataFrameModel):
    """Score of each query by each measure; `random_baseline` is the expected score of a random order."""

    gallery: str
    photos: int = pa.Field(ge=1)  # in the gallery
    embedding: str
    measure: str
    image_id: str
    group: str
    category: str
    value: float = pa.Field(ge=0, le=1 + 1e-9)
    random_baseline: float = pa.Field(ge=0, le=1 + 1e-9)

    class Config:
        """One score per gallery, embedding, query and measure."""

        unique = ("gallery", "embedding", "measure", "image_id")
        strict = True


class RankingQueryMetrics(pa.DataFrameModel):
    """Score of each search for a test listing, per ranking method and measure."""

    kind: str
    product_id: str
    group: str
    method: str
    measure: str
    value: float = pa.Field(ge=0, le=1 + 1e-9)

    class Config:
        """One score per search, method and measure."""

        unique = ("kind", "product_id", "method", "measure")
        strict = True


class Feedback(pa.DataFrameModel):
    """Listings shown by text searches, and whether they were clicked; may be empty."""

    search_id: str
    words: str = pa.Field(str_length={"min_value": 1})
    product_id: str
    position: int = pa.Field(ge=1)  # over all pages of the search
    clicked: bool

    class Config:
        """A search shows a listing at most once."""

        unique = ("search_id", "product_id")
        strict = True
