"""Schemas of retrieval and ranking results, and of feedback."""

import pandera.pandas as pa


class RetrievalHits(pa.DataFrameModel):
    """The first hits of each photo of the test split, in the index as served."""

    image_id: str
    rank: int = pa.Field(ge=1, le=10)
    hit: str
    similarity: float  # cosine
    grade: int = pa.Field(ge=0, le=3)

    class Config:
        """A photo is found once, and there is one at each rank."""

        unique = ("image_id", "rank")
        strict = True


class RetrievalQueries(pa.DataFrameModel):
    """How well each query did by each measure, beside what a random order would give."""

    gallery: str
    photos: int = pa.Field(ge=1)  # in the gallery
    embedding: str
    measure: str
    image_id: str
    group: str
    category: str
    value: float = pa.Field(ge=0, le=1 + 1e-9)
    chance: float = pa.Field(ge=0, le=1 + 1e-9)

    class Config:
        """A query is measured once."""

        unique = ("gallery", "embedding", "measure", "image_id")
        strict = True


class RankingQueryMetrics(pa.DataFrameModel):
    """How well each search for a listing of the test split did, by each way to put candidates in order."""

    kind: str
    product_id: str
    group: str
    method: str
    measure: str
    value: float = pa.Field(ge=0, le=1 + 1e-9)

    class Config:
        """A search is measured once."""

        unique = ("kind", "product_id", "method", "measure")
        strict = True


class Feedback(pa.DataFrameModel):
    """What searches by words showed, and whether it was clicked; there may be none."""

    search_id: str
    words: str = pa.Field(str_length={"min_value": 1})
    product_id: str
    position: int = pa.Field(ge=1)  # over all pages of the search
    clicked: bool

    class Config:
        """A page shows a listing once."""

        unique = ("search_id", "product_id")
        strict = True
