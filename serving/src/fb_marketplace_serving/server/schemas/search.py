"""What a search answers with."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from fb_marketplace_serving.search.candidates import Source
from fb_marketplace_serving.server.schemas.common import OAK_BOOKCASE, ListingSummary, with_example

_TYPICAL: Final[dict[str, Any]] = {"low": 35.0, "high": 80.0, "alike": ["5f6a7b8c"]}
_NOTE: Final[dict[str, Any]] = {
    "kind": "photo_elsewhere",
    "text": "Its photo also stands in another listing, in York, at 60.00 GBP.",
    "products": ["6a7b8c9d"],
}
_PLACE: Final[dict[str, Any]] = {"source": "bm25", "rank": 1, "similarity": 7.4}
_REASON: Final[dict[str, Any]] = {
    "feature": "bm25_similarity",
    "says": "holds the words",
    "value": 7.4,
    "adds": 0.9,
}
_WHY: Final[dict[str, Any]] = {
    "base": -0.2,
    "reasons": [_REASON],
    "words": {"bookcas": 4.3, "oak": 3.1},
}
_HIT: Final[dict[str, Any]] = OAK_BOOKCASE | {
    "image_id": "0a1b2c3d",
    "score": 0.7,
    "places": [_PLACE],
    "distance_km": 3.2,
    "more": ["7b8c9d0e"],
    "typical_price": _TYPICAL,
    "notes": [_NOTE],
    "why": _WHY,
}
_CATEGORY: Final[dict[str, Any]] = {"path": "Home & Garden", "count": 2}
_BAND: Final[dict[str, Any]] = {"low": 25.0, "high": 50.0, "count": 2}


class PriceRange(BaseModel):
    """What alike listings ask."""

    model_config = with_example(**_TYPICAL)

    low: float
    high: float
    alike: list[str] = Field(description="some of the listings that it is of")


class PriceInsight(BaseModel):
    """Something to know of a price or a photo, with what it rests on; never a verdict."""

    model_config = with_example(**_NOTE)

    kind: Literal["unusual_price", "photo_elsewhere"]
    text: str = Field(description="in plain words")
    products: list[str] = Field(description="the listings that it rests on")


class CandidateSource(BaseModel):
    """Where a hit stands with one of the sources of candidates."""

    model_config = with_example(**_PLACE)

    source: Source
    rank: int = Field(ge=1, description="among what that source found")
    similarity: float | None = Field(
        description="cosine; of words, the sum of BM25; null where the listing has no photo"
    )


class FeatureContribution(BaseModel):
    """What one feature adds to the score of a hit."""

    model_config = with_example(**_REASON)

    feature: str
    says: str = Field(description="the feature in plain words")
    value: float | None = Field(description="null where it is not known")
    adds: float = Field(description="to the score")


class Explanation(BaseModel):
    """The score of a hit taken apart: the base and what every feature adds are the score."""

    model_config = with_example(**_WHY)

    base: float
    reasons: list[FeatureContribution] = Field(description="the strongest first")
    words: dict[str, float] = Field(description="what each stem of the query adds to BM25")


class SearchHit(ListingSummary):
    """A listing that was found."""

    model_config = with_example(**_HIT)

    image_id: str | None = Field(description="its photo that is most like the query; null for none")
    score: float = Field(description="the ranker's: higher is better, and zero is nothing special")
    places: list[CandidateSource] = Field(description="where it came from")
    distance_km: float | None = Field(description="from `near`; null where that is not known")
    more: list[str] = Field(description="listings that show the same thing, folded under this one")
    typical_price: PriceRange | None = Field(description="null where too few are alike")
    notes: list[PriceInsight]
    why: Explanation | None = Field(description="with `explain=true`")


class CategoryFacet(BaseModel):
    """How many of the listings that were found are in a category, or below it."""

    model_config = with_example(**_CATEGORY)

    path: str
    count: int


class PriceFacet(BaseModel):
    """How many of them cost so much."""

    model_config = with_example(**_BAND)

    low: float
    high: Annotated[float | None, Field(description="below this; null for no end")]
    count: int


class SearchResponse(BaseModel):
    """Listings, the best first."""

    model_config = with_example(
        release="2026-03-01T12.00.00.000Z",
        total=1,
        listings=2,
        hits=[_HIT],
        categories=[_CATEGORY],
        prices=[_BAND],
    )

    release: str = Field(description="pages of one search belong together while this is the same")
    total: int = Field(description="hits on all pages")
    listings: int = Field(description="with those that are folded under them")
    hits: list[SearchHit]
    categories: list[CategoryFacet]
    prices: list[PriceFacet]
    search_id: str | None = Field(
        default=None, description="to tell clicks by; null where the server writes none down"
    )
